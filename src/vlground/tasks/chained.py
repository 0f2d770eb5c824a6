"""A step of a chain is a run of its own, composed as its command would be.

    parts of the run ──inherited──▶ overrides ──Hydra──▶ cell ──▶ runs/TASK/…, done once

What was done already, by this chain, by another one or by hand, is not done again.
"""

import logging
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from omegaconf import DictConfig, OmegaConf

from vlground.cell import Cell
from vlground.errors import VlgroundError

log = logging.getLogger("vlground")

_ALWAYS = ("trainer", "callbacks")
_NOTHING = object()
_PLAIN_WORD = re.compile(r"[A-Za-z_/][\w./-]*")
_MEANING = ("null", "true", "false", "inf", "nan")  # without quotes these are no text
_PLAIN = ("seed", "batch_size", "num_workers", "runs")


@dataclass(frozen=True, eq=False)
class Step:
    """A run that is done.

    Attributes:
        directory: Where it lies.
        fingerprint: Of it.
        command: What `vlground` would be told to do the same.
        results: What its `results.json` says.
    """

    directory: Path
    fingerprint: str
    command: tuple[str, ...]
    results: Mapping[str, Any]

    @property
    def rows(self) -> pandas.DataFrame:
        """Of its `rows.parquet`."""
        return pandas.read_parquet(self.directory / "rows.parquet")


def inherited(parent: Cell, task: str, groups: Sequence[str]) -> list[str]:
    """The overrides with which a step has the parts of the run that it belongs to.

    Args:
        parent: The run.
        task: Of the step.
        groups: Parts that the step shares with it, such as `model`.

    Returns:
        The options chosen, and of each part only what differs from what its file says.
    """
    node, chosen = parent.node, parent.hydra.runtime.choices
    shared = (*groups, *_ALWAYS)
    choices = [f"task={task}", *(f"{group}={chosen[group]}" for group in shared), "logger=none"]
    choices += [f"{name}={said(node[name])}" for name in _PLAIN]
    plain, _ = _composed(choices)
    return choices + [one for group in shared for one in _differing(group, node[group], plain)]


def compose_cell(overrides: Sequence[str]) -> Cell:
    """The cell of a command.

    Args:
        overrides: As of `vlground`; options from `--config-dir` of the command that runs are known.

    Raises:
        VlgroundError: If they cannot be composed.
    """
    return Cell.of(*_composed(overrides))


def carry_out(overrides: Sequence[str]) -> Step:
    """Do a step, unless it is done.

    Args:
        overrides: As of `vlground`.

    Raises:
        VlgroundError: Whatever the user can mend; `error.txt` of the step has the traceback.
    """
    from vlground.run import compute, summary

    cell = compose_cell(overrides)
    cell.identify()
    command = tuple(_shown(overrides, cell.runs))
    results = cell.results()
    if results is None:
        log.info("vlground %s", shlex.join(command))
        try:
            with cell.recorded():
                results = compute(cell)
        except Exception as error:
            cell.write_error(error)
            raise
        log.info("%s: %s", cell.title, summary(results))
    return Step(cell.directory, cell.fingerprint, command, results)


def _hydra() -> AbstractContextManager[object]:
    """Hydra as the command began it, with its folders of options; as a library, its own."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from vlground.run import CONF

    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    return initialize_config_dir(str(CONF), version_base="1.3")


def _composed(overrides: Sequence[str]) -> tuple[DictConfig, Any]:
    """The options, and what Hydra says of itself."""
    from hydra import compose
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _hydra():
            whole = compose("run", list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise VlgroundError(lines[0] if lines else type(error).__name__) from error
    own = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    return own, whole.hydra


def _differing(group: str, node: object, plain: DictConfig) -> Iterator[str]:
    for name, value in _leaves(group, node):
        before = OmegaConf.select(plain, name, default=_NOTHING, throw_on_resolution_failure=False)
        if OmegaConf.is_config(before):
            before = OmegaConf.to_container(before, resolve=True)
        if before is _NOTHING or before != value:
            yield f"++{name}={said(value)}"


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(f"{name}.{key}", child)
    else:
        yield name, value


def said(value: object) -> str:
    """A value in the words of Hydra's command line.

    >>> said({"a": [1, None, "1"], "b": True, "c": "a/b.c"})
    '{a:[1,null,"1"],b:true,c:a/b.c}'
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{said(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(said, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    plain = _PLAIN_WORD.fullmatch(text) and text.lower() not in _MEANING
    return text if plain else QuotedString(text, Quote.double).with_quotes()


def _shown(overrides: Sequence[str], runs: Path) -> Iterator[str]:
    """Without what says where and how, on which no number depends."""
    hidden = ("runs=", "batch_size=", "num_workers=", "logger=", "callbacks=", "trainer=")
    for one in overrides:
        if not one.startswith(hidden):
            yield one.replace(str(runs), "runs")
