"""What a sweep has to do and what became of it, in the sweep's own folder.

    runs/sweeps/<time>/cells.json        the cells: overrides of each, before the first one runs
    runs/sweeps/<time>/cells/<n>.json    of a cell that ended: title, outcome, in which directory

Any process of any launcher writes the second; so the last line of a sweep counts all cells, and
`vlground-report` knows what nobody ran.
"""

import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vlground.errors import VlgroundError

log = logging.getLogger("vlground")

_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "joblib_gpu": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "slurm": "hydra-submitit-launcher",
}
_POLL = 1.0  # seconds between two looks at cells that other processes run

# Of the sweep that this process launched.
_sweeps: list["_Sweep"] = []


class CellList(Callback):
    """Hydra's callback that writes down the cells of a sweep."""

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """List the cells, unless the sweeper finds them as it goes (Optuna and the like)."""
        # Whoever launches by Slurm sees no line of a cell.
        unseen = "submitit" in config.hydra.launcher._target_
        sweep = _Sweep(Path(config.hydra.sweep.dir).absolute(), unseen)
        _sweeps.append(sweep)
        if "BasicSweeper" in config.hydra.sweeper._target_:
            sweep.begin(config)


class _Sweep:
    """A sweep as its launching process sees it."""

    def __init__(self, folder: Path, unseen: bool) -> None:
        self.folder = folder
        self._cells = 0
        self._told: set[Path] = set()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if unseen:
            self._watcher.start()

    def begin(self, config: DictConfig) -> None:
        from vlground.whole import one_line_on_failure, write_json

        cells = _cells_of(config)
        self._cells = len(cells)
        choices, dry_run = config.hydra.runtime.choices, bool(config.sweep.dry_run)
        found = {"experiment": choices.get("experiment"), "dry_run": dry_run, "cells": cells}
        with one_line_on_failure(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "cells.json", found)

    def end(self) -> None:
        """Say what became of the cells."""
        self._ended.set()
        if self._watcher.is_alive():
            self._watcher.join()
        counts = Counter(one["outcome"] for one in outcomes(self.folder).values())
        if left := self._cells - counts.total():
            counts["not run"] = max(left, 0)
        if counts.total() > 1:
            log.info("%s", ", ".join(f"{count} {what}" for what, count in counts.items()))

    def _watch(self) -> None:
        """Say of each cell what its own process says where nobody sees it."""
        last = False
        while not last:
            last = self._ended.wait(_POLL)
            for number, one in outcomes(self.folder).items():
                path = self.folder / str(number)
                if path not in self._told:
                    self._told.add(path)
                    level = logging.ERROR if one["outcome"] == "failed" else logging.INFO
                    log.log(level, "%s: %s", one["title"], one["told"] or one["outcome"])


def end() -> None:
    """Of a command that may have launched a sweep: say how it ended."""
    while _sweeps:
        _sweeps.pop().end()


def ended(outcome: str, title: str, directory: Path | None = None, told: str = "") -> None:
    """Note what became of the cell of a sweep that this process runs.

    Args:
        outcome: done now, done already, to do, impossible or failed.
        title: Of the cell; its overrides if it has none.
        directory: Of the run.
        told: Its scores or its error, in a line.
    """
    from vlground.whole import one_line_on_failure, write_json

    hydra = HydraConfig.get()
    if hydra.mode is None or hydra.mode.name != "MULTIRUN":  # composed by hand it has none
        return
    path = Path(hydra.runtime.output_dir) / "cells" / f"{hydra.job.num}.json"
    overrides = [str(one) for one in hydra.overrides.task]
    found: dict[str, object] = {"outcome": outcome, "title": title, "told": told}
    found["overrides"] = overrides
    # Two folders up from it is where everything goes to.
    found["directory"] = None if directory is None else "/".join(directory.parts[-2:])
    try:
        with one_line_on_failure(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    except VlgroundError as error:  # the cell's own fate matters more
        log.error("%s", error)


def outcomes(folder: Path) -> dict[int, dict[str, Any]]:
    """What became of the cells of a sweep that ended, by number.

    Args:
        folder: Of the sweep.
    """
    return dict(sorted(_read(folder)))


def _read(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for path in folder.glob("cells/*.json"):
        try:
            yield int(path.stem), json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):  # not one of ours, or torn by a copy
            continue


def check_launcher(arguments: Sequence[str]) -> None:
    """End with one line if the package of a chosen launcher is not installed."""
    for argument in arguments:
        group, _, name = argument.partition("=")
        if group == "hydra/launcher" and name in _PACKAGES:
            try:
                distribution(_PACKAGES[name])
            except PackageNotFoundError:
                sys.exit(f"{argument}: needs {_PACKAGES[name]}: pip install 'vlground[launchers]'")


def _cells_of(config: DictConfig) -> list[list[str]]:
    """Overrides of each cell, as Hydra's own sweeper numbers them."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    swept = [f"{name}={values}" for name, values in (config.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides([*swept, *config.hydra.overrides.task])
    (cells,) = BasicSweeper.split_arguments(overrides, None)
    return [list(cell) for cell in cells]
