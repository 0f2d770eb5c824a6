"""task=finetuning beside transformers' Trainer, on mini_captioner.

    OMP_NUM_THREADS=1 python benchmarks/finetuning.py [--steps 8] [--repeats 4]

Both learn from the same 32 dialogues a step, collated anew, with AdamW and clipped gradients, in
one process and in turn. Theirs is `transformers.Trainer`, which needs accelerate (`pip install -e
'.[rl]'`); without it its step is written out. It computes the logits of all places, ours those of
answers. Ours is a whole run of Lightning's trainer. Neither writes a checkpoint or the model.
Medians of the ratio of neighbouring calls, of processor time too, which other processes do not
lengthen.
"""

import argparse
import logging
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from omegaconf import OmegaConf

import vlground
from vlground.models.dialogue import load_dialogue_model
from vlground.run import CONF, quieten
from vlground.tasks.finetuning import Finetuning
from vlground.training.mixture import Mixture
from vlground.training.objective import answer_losses
from vlground.training.shapes_dialogues import ShapesDialogues
from vlground.training.weights import optimizers_of, rate_at

MINIATURE = Path(vlground.__file__).parent / "miniatures" / "mini_captioner"
PROMPT = "Describe this image in detail."


class Bench:
    """The same network, data and steps, twice."""

    def __init__(self, steps):
        trained = OmegaConf.load(CONF / "task" / "finetuning" / "network.yaml")
        node = OmegaConf.merge(trained, OmegaConf.load(CONF / "task" / "finetuning.yaml").task)
        self.options = OmegaConf.to_container(node) | {
            "steps": steps,
            "checkpoint_every": steps,
            "learning_rate": 2e-3,
            "freeze": [],
        }
        self.network, self.processor = load_dialogue_model(
            "model.pretrained", str(MINIATURE), None, torch.float32
        )
        captions = ShapesDialogues(0, 12000, PROMPT, {"hallucination": 0.3})
        self.mixture = Mixture(captions, ShapesDialogues(0, 12000), 0.25, 32, 0)
        self.steps = steps

    def ours(self):
        """A run of the task."""
        import lightning

        with tempfile.TemporaryDirectory() as folder:
            made = Finetuning(
                self.network, self.processor, self.mixture, [], self.options, Path(folder)
            )
            made.configure_callbacks = list  # no checkpoint: the other writes none
            trainer = lightning.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                use_distributed_sampler=False,
            )
            trainer.fit(made)

    def trainer(self):
        """Theirs."""
        from transformers import Trainer, TrainerCallback, TrainingArguments

        class Rate(TrainerCallback):
            def on_step_begin(self, args, state, control, optimizer=None, **_):
                for group in optimizer.param_groups:
                    group["lr"] = rates[state.global_step]

        rates = [rate_at(number, self.steps, self.options) for number in range(self.steps)]
        collate = self.collator()
        (optimizer,) = optimizers_of(self.network, "adamw", 0.0)
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

        def batch(numbers):
            made = collate(self.mixture.step(numbers[0]["number"]))
            return {**made.inputs, "labels": made.labels}

        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                per_device_train_batch_size=1,  # the number of a step, which is 32 dialogues
                max_steps=self.steps,
                max_grad_norm=1.0,
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            )
            Trainer(
                self.network,
                arguments,
                data_collator=batch,
                train_dataset=[{"number": number} for number in range(self.steps)],
                optimizers=(optimizer, constant),
                callbacks=[Rate()],
            ).train()

    def step(self):
        """The Trainer's calls, written out."""
        collate = self.collator()
        (optimizer,) = optimizers_of(self.network, "adamw", 0.0)
        self.network.train()
        for number in range(self.steps):
            batch = collate(self.mixture.step(number))
            loss = self.network(**batch.inputs, labels=batch.labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate_at(number, self.steps, self.options)
            optimizer.step()
            optimizer.zero_grad()

    def collator(self):
        """Of both."""
        made = Finetuning(self.network, self.processor, self.mixture, [], self.options, Path())
        return made.collator


def ratio(one, other, repeats):
    """Medians of wall(one) / wall(other) and of processor time, and both medians in seconds."""
    one(), other()  # to warm up
    walls, busy = [], []
    for _ in range(repeats):
        wall, used = [], []
        for function in (one, other):
            started, before = time.perf_counter(), time.process_time()
            function()
            wall.append(time.perf_counter() - started)
            used.append(time.process_time() - before)
        walls.append(wall)
        busy.append(used)
    times = [statistics.median(a / b for a, b in pairs) for pairs in (walls, busy)]
    return *times, *(statistics.median(column) for column in zip(*busy, strict=True))


def main(steps, repeats):
    quieten()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    bench = Bench(steps)
    batch = bench.collator()(bench.mixture.step(0))
    with torch.no_grad():  # they make the same thing small
        losses, tokens = answer_losses(bench.network, batch)
        theirs = bench.network(**batch.inputs, labels=batch.labels).loss
        torch.testing.assert_close(losses.sum() / tokens.sum(), theirs, rtol=1e-4, atol=1e-5)
    known = find_spec("accelerate") is not None
    name, theirs = ("Trainer", bench.trainer) if known else ("its step", bench.step)
    wall, busy, other, ours = ratio(theirs, bench.ours, repeats)
    each = f"{name} {other / steps:.3f}, ours {ours / steps:.3f}"
    told = f"processor seconds a step: {each}; by wall time {wall:.2f} ×"
    print(f"throughput {busy:.2f} × transformers' {name} by processor time; {told}")
    if not known:
        print("accelerate is not installed, so the Trainer itself did not run")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    main(arguments.steps, arguments.repeats)
