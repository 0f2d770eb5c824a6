"""The command `vlground`: one Hydra command is one experiment.

What an experiment computes decides where it is stored. If its `results.json` exists, the run
returns it; so every sweep resumes by being started again.
"""

import logging
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from vlground import devices, sweeps
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.labels import CELLS
from vlground.options import CONF as CONF

if TYPE_CHECKING:
    from vlground.cell import Cell

log = logging.getLogger("vlground")

_PACKAGE = Path(__file__).parent

# `${miniature:mini_blip}`: where the wheel keeps that folder. Registered on import, because the
# processes of a launcher import this module and call `job`.
OmegaConf.register_new_resolver(
    "miniature", lambda name: str(_PACKAGE / "miniatures" / name), replace=True
)
# Of hydra/launcher=joblib_gpu: one job a GPU.
OmegaConf.register_new_resolver("gpus", lambda: len(devices.gpus()), replace=True)
OmegaConf.register_new_resolver("gpu_of_worker", devices.gpu_of_worker, replace=True)

# conf/hydra/launcher/joblib.yaml has the name of the plugin's own, and may be held against it.
warnings.filterwarnings("ignore", "(?s).*is validated against ConfigStore schema with the same")


_SECRET = re.compile("key|secret|password|authorization", re.IGNORECASE)

# Flags of what is asked again: of judges, and of servers that write captions.
_UNANSWERED = ("error: ", "refusal", "time-out", "connection")


def main() -> None:
    """Entry point of `vlground` and `python -m vlground`."""
    _refuse_secrets(sys.argv[1:])
    sweeps.check_launcher(sys.argv[1:])
    try:
        job()
    finally:
        sweeps.end()


def _refuse_secrets(arguments: Sequence[str]) -> None:
    """Before Hydra writes the command line into a sweep's folder."""
    given = [argument.partition("=") for argument in arguments]
    dotted = [(key.lstrip("+~").partition("."), values) for key, _, values in given]
    if not {of for (of, _, _), _ in dotted} & {"judge", "model"}:
        return
    from vlground.endpoint.secrets import GROUPS, refuse_secrets

    asked = [(g, name, values) for (of, _, name), values in dotted for g in GROUPS if g == of]
    for group, name, values in asked:
        for value in values.split(","):
            try:
                if _SECRET.search(name) and name != "api_key_env":
                    told = f"{group}.{name}: a key is given by {group}.api_key_env=NAME"
                    raise VlgroundError(f"{told}, the environment variable that holds it")
                refuse_secrets({name: None if value == "null" else value.strip("'\"")}, group)
            except VlgroundError as error:
                sys.exit(str(error))


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
def job(config: DictConfig) -> float | None:
    """Run one composed configuration."""
    multirun = HydraConfig.get().mode.name == "MULTIRUN"
    # As with `python -m`: your own `_target_: my_package.Mine` is found in the current folder.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    # A launcher that handles it itself (submitit: to queue the job again) is left to do so.
    untouched = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if untouched and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return execute(config, multirun)
    except ImpossiblePairError as error:
        if not multirun:
            raise CompactHydraException(str(error)) from error
        log.warning("%s", error)
        return None
    except VlgroundError as error:
        raise CompactHydraException(str(error)) from error
    except Exception as error:
        if not multirun:
            raise
        # Of an error of any kind only words come back whole from a launcher's process.
        raise CompactHydraException(f"{type(error).__name__}: {error}") from error


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave through every `finally`; nobody takes SystemExit for a failed cell and goes on."""
    raise SystemExit(128 + number)


def execute(config: DictConfig, multirun: bool = False) -> float | None:
    """Run one cell, unless it is done already.

    Args:
        config: The composed configuration, inside a Hydra job.
        multirun: Whether the job is one of a sweep.

    Returns:
        The IO_ratio, or a judge's mean score, for Hydra's sweepers; None where it is undefined or
        nothing was run.

    Raises:
        VlgroundError: Whatever the user can mend, in one line; `error.txt` has the traceback.
    """
    cell = _cell_of(config)
    if multirun and cell.node["trainer"].get("strategy", "auto") != "auto":
        name = cell.node["trainer"]["strategy"]
        raise VlgroundError(f"trainer.strategy={name}: not in a sweep; use hydra/launcher=joblib")
    try:
        outcome, results = _carry_out(cell)
    except ImpossiblePairError as error:
        cell.forget()
        sweeps.ended("impossible", cell.title, told=f"impossible, {error}")
        raise ImpossiblePairError(f"{cell.title}: impossible, {error}") from error
    except Exception as error:
        cell.write_error(error)
        log.error("%s: %s", cell.title, error)
        sweeps.ended("failed", cell.title, cell.directory, str(error))
        raise
    told = summary(results) if outcome == "done now" else ""
    sweeps.ended(outcome, cell.title, cell.directory, told)
    scores = results.get("scores", {})
    score = scores.get("io_ratio", scores.get("judge_score"))
    return None if score is None else float(score["value"])


def _cell_of(config: DictConfig) -> "Cell":
    from vlground.cell import Cell

    hydra = HydraConfig.get()
    try:
        return Cell.of(config, hydra)
    except VlgroundError as error:
        overrides = " ".join(hydra.overrides.task)
        sweeps.ended("failed", overrides, told=str(error))
        if hydra.mode and hydra.mode.name == "MULTIRUN":
            log.error("%s: %s", overrides, error)
        raise


def _carry_out(cell: "Cell") -> tuple[str, dict[str, Any]]:
    """What became of a cell, and its results if there are any."""
    from hydra.utils import get_class

    from vlground import tracking

    cell.identify()
    results, dry_run = cell.results(), cell.node["sweep"]["dry_run"]
    if results is not None:
        log.info("%s: done already%s, %s", cell.title, unanswered(results), cell.directory)
        if not dry_run:
            cell.join_experiment(results)
            tracking.again(cell)
        return "done already", results
    if dry_run:
        away = cell.weights_missing  # whether CAM and model go together is not known then
        if not away:
            get_class(cell.node["task"]["_target_"]).check(cell.node)
        log.info("%s: to do%s", cell.title, ", its weights are not here" if away else "")
        return "to do", {}
    with cell.recorded():
        results = compute(cell)
        log.info("%s: %s  %s", cell.title, summary(results), cell.directory)
    return "done now", results


def compute(cell: "Cell") -> dict[str, Any]:
    """Make what evidence is missing, score it, write and log the results."""
    import lightning
    import torch
    from hydra.utils import get_class

    from vlground.callbacks import finish, keep_files, log_results
    from vlground.config import build
    from vlground.rewarded import is_shown

    torch.set_flush_denormal(True)  # with denormals a backward pass of lite2 takes ten times longer
    quieten()
    lightning.seed_everything(cell.node["seed"], workers=True, verbose=False)
    started = time.perf_counter()
    node = cell.node
    task = get_class(node["task"]["_target_"]).of(cell)
    logger = build(node["logger"])(cell) if node["logger"] else None
    try:
        trainer = build({**node["trainer"], "_partial_": True})(
            logger=logger if logger is not None else False,
            callbacks=[build(callback) for callback in node["callbacks"].values()],
            default_root_dir=str(cell.directory),
        )
        task.carry_out(trainer)
        cell.seconds = time.perf_counter() - started
        device = str(trainer.strategy.root_device)
        results = cell.results_of(task.scores(), task.table, device, task.details())
        if trainer.is_global_zero:
            figures = cell.save_figures(task.pictures(node["task"]["overlays"]))
            if logger is not None:
                shown = cell.whole(task.table[is_shown(task.table, figures)])
                log_results(logger, results, shown.to_dict("records"), figures)
            cell.write(results, task.table)
            if logger is not None:
                keep_files(logger, cell)
    finally:
        if logger is not None:
            finish(logger)
    return results


def quieten() -> None:
    """Silence what Lightning says about itself; everything about the run stays."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for message in (
        "Couldn't infer the batch indices",  # evidence is keyed by sample, not by index
        ".*isinstance.treespec, LeafSpec",  # lightning 2.6 beside torch 2.13
        ".*does not have many workers",  # num_workers is the user's choice
        "Total length of .DataLoader. across ranks is zero",  # no text that the model knows
        "Found .* in eval mode",  # training drops nothing out
    ):
        warnings.filterwarnings("ignore", message)


def unanswered(results: dict[str, Any]) -> str:
    """How many questions a judge did not answer, and how to ask them again."""
    flags = results["counts"]["flagged"]
    count = sum(n for flag, n in flags.items() if flag.startswith(_UNANSWERED) or flag.isdigit())
    return f" ({count} not answered: overwrite=true asks again)" if count else ""


def summary(results: dict[str, Any]) -> str:
    """The scores and the counts that fit on a line."""
    names = ("pointing_game", "io_ratio", "iou_soft", "accuracy", *CELLS, "judge_score")
    others = (
        *("deletion", "insertion", "road_combined", "delta_logit", "suspects"),
        *("chair_i", "chair_s", "recall", "words", "f1", "yes_ratio", "perception", "cognition"),
        "coarse_grained",
        *("random/chair_i", "refined/chair_i", "random/recall", "refined/recall"),
        *("random/words", "refined/words", "ties", "emptied"),
        *("auc/any", "blind/auc/any", "caught/any", "sum/chair_i", "mean/chair_i"),
        *("wrong_sentences", "undetected_nouns", "sentences", "distinct", "empty", "cut_off"),
        *("sampled/chair_i", "sampled/wrong_sentences", "sampled/recall", "pope/f1"),
    )
    scores = results["scores"]
    shown = [f"{n} {scores[n]['value']:.3f}" for n in (*names, *others) if n in scores]
    counts = results["counts"]
    return ", ".join([*shown, f"{counts['scored']} of {counts['samples']} samples"])
