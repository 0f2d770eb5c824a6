"""TRL's trainers on a captioner: their loops, losses and checkpoints, with our options.

Imported only where TRL is installed (`pip install 'vlground[rl]'`).
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning
from datasets import Dataset, Image, List, disable_progress_bars
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

from vlground.errors import VlgroundError
from vlground.training.weights import Adapter, lora_of
from vlground.whole import one_line_on_failure

log = logging.getLogger("vlground")

_LINES = 50  # of a training, that its results keep
_SHOWN = ("loss", "rewards/accuracies", "reward", "completions/mean_length")


class Told(TrainerCallback):
    """Hands on what a trainer tells, and stops it where a loss is no number.

    Args:
        loggers: Of Lightning's trainer.

    Attributes:
        lines: Numbers of the steps that were told.
    """

    def __init__(self, loggers: Sequence[Any]) -> None:
        self.loggers = loggers
        self.lines: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ANN401
        """Keep it; transformers calls with further arguments.

        Raises:
            VlgroundError: If a loss or a gradient is not finite.
        """
        numbers = {n: float(v) for n, v in (logs or {}).items() if isinstance(v, int | float)}
        if "loss" not in numbers:
            return  # the summary at the end
        for name in ("loss", "grad_norm"):
            if not math.isfinite(numbers.get(name, 0.0)):
                told = f"step {state.global_step}: {name} is {numbers[name]}"
                rate = f"task.learning_rate={args.learning_rate}"
                raise VlgroundError(f"{rate}: too high, or a bad example? {told}")
        shown = [f"{name} {numbers[name]:.3f}" for name in _SHOWN if name in numbers]
        log.info("step %d of %d: %s", state.global_step, state.max_steps, ", ".join(shown))
        self.lines.append({"step": float(state.global_step), **numbers})
        for logger in self.loggers:
            named = {f"train/{name}": value for name, value in numbers.items()}
            logger.log_metrics(named, step=state.global_step)


def dpo(
    network: Any,  # noqa: ANN401 - of transformers
    processor: Any,  # noqa: ANN401
    records: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    seed: int,
    directory: Path,
    trainer: lightning.Trainer,
) -> tuple[Any, list[dict[str, float]]]:
    """Direct preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290).

    Args:
        network: Trained in place.
        processor: Of the network.
        records: `prompt`, `chosen`, `rejected` as plain texts with all their special tokens, and
            `images`, a list with one path or PNG: `{"path": …, "bytes": …}`.
        options: The task's node.
        seed: Of order and adapters.
        directory: Of the run.
        trainer: Says where to train, how precisely, and who is told.

    Returns:
        The network, in an adapter if there is one, and numbers of its steps.

    Raises:
        VlgroundError: If a loss is not finite, or a checkpoint cannot be written.
    """
    arguments = _arguments(options, seed, directory, trainer, int(options["batch"]))
    adapter = Adapter(**options["adapter"])
    made = DPOTrainer(
        network,
        # TRL would load the model again by its name, which says nothing of the commit.
        ref_model=deepcopy(network) if adapter.kind == "none" else None,
        args=DPOConfig(**arguments, beta=options["beta"], max_length=None),
        train_dataset=_dataset(records),
        processing_class=processor,
        peft_config=None if adapter.kind == "none" else lora_of(adapter, options["freeze"]),
        callbacks=[told := Told(trainer.loggers)],
    )
    return _trained(made, directory), told.lines


def grpo(
    network: Any,  # noqa: ANN401 - of transformers
    processor: Any,  # noqa: ANN401
    records: Sequence[Mapping[str, Any]],
    reward: Callable[[Sequence[int], Sequence[str]], list[float]],
    options: Mapping[str, Any],
    seed: int,
    directory: Path,
    trainer: lightning.Trainer,
) -> tuple[Any, list[dict[str, float]]]:
    """Group relative policy optimisation (Shao et al. 2024, https://arxiv.org/abs/2402.03300).

    Args:
        network: Trained in place.
        processor: Of the network.
        records: `prompt` (conversational), `place` and `images`, see `dpo`.
        reward: Of places and captions.
        options: The task's node.
        seed: Of order, captions and adapters.
        directory: Of the run.
        trainer: See `dpo`.

    Returns:
        See `dpo`.

    Raises:
        VlgroundError: If a loss is not finite, or a checkpoint cannot be written.
    """

    def penalty(completions: Sequence[Any], place: Sequence[int], **_: Any) -> list[float]:  # noqa: ANN401
        return reward(place, [str(one[0]["content"]) for one in completions])

    captions = int(options["images"]) * int(options["n"])
    adapter = Adapter(**options["adapter"])
    made = GRPOTrainer(
        network,
        penalty,
        args=GRPOConfig(
            **_arguments(options, seed, directory, trainer, captions),
            num_generations=options["n"],
            generation_batch_size=captions,
            max_completion_length=options["max_tokens"],
            temperature=options["temperature"],
            beta=options["beta"],
        ),
        train_dataset=_dataset(records),
        processing_class=processor,
        peft_config=None if adapter.kind == "none" else lora_of(adapter, options["freeze"]),
        callbacks=[told := Told(trainer.loggers)],
    )
    return _trained(made, directory), told.lines


def _arguments(
    options: Mapping[str, Any], seed: int, directory: Path, trainer: lightning.Trainer, batch: int
) -> dict[str, Any]:
    """What both share, in the words of transformers."""
    steps, every = options["steps"], options["checkpoint_every"]
    return {
        "output_dir": str(directory / "checkpoints"),
        "seed": seed,
        "use_cpu": trainer.strategy.root_device.type == "cpu",
        "bf16": str(trainer.precision) == "bf16-mixed",
        "per_device_train_batch_size": batch // options["accumulate"],
        "gradient_accumulation_steps": options["accumulate"],
        "max_steps": -1 if steps is None else steps,
        "num_train_epochs": options["epochs"],
        "learning_rate": options["learning_rate"],
        "warmup_steps": options["warmup"],
        "lr_scheduler_type": options["schedule"],
        "weight_decay": options["weight_decay"],
        "max_grad_norm": options["clip"],
        "gradient_checkpointing": options["gradient_checkpointing"],
        "save_strategy": "no" if every is None else "steps",
        "save_steps": every or 1,
        "save_total_limit": 1,
        "logging_steps": 1 if steps is None else max(1, steps // _LINES),
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": trainer.strategy.root_device.type == "cuda",
    }


def _dataset(records: Sequence[Mapping[str, Any]]) -> Dataset:
    disable_progress_bars()  # in the middle of a sweep's lines
    return Dataset.from_list(list(records)).cast_column("images", List(Image()))


def _trained(made: Trainer, directory: Path) -> Any:  # noqa: ANN401 - of transformers or peft
    """Train, from the last whole checkpoint."""
    made.remove_callback(PrinterCallback)
    folder = directory / "checkpoints"
    # What is written last: one without it was torn by a kill.
    states = folder.glob("checkpoint-*/trainer_state.json")
    last = max((path.parent for path in states), key=_step, default=None)
    network = made.accelerator.unwrap_model(made.model)
    if last is not None:
        log.info("goes on from %s", last)
        if isinstance(network, PreTrainedModel):
            # LLaVA's weights have other names on disk, which transformers' Trainer does not know:
            # it would go on with the weights that it was given.
            network.load_state_dict(type(network).from_pretrained(last).state_dict())
            logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    with one_line_on_failure(folder):
        made.train(resume_from_checkpoint=None if last is None else str(last))
    return network


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
