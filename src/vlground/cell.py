"""One cell of a sweep: what it computes, where that lies, and how its results are written."""

import logging
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.conf import HydraConf
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from vlground import tracking
from vlground.config import (
    build_dataset,
    check_whole_numbers,
    contents,
    load_weights,
    select,
    versions,
)
from vlground.counts import count
from vlground.data.sample import DataSet, Sample, manifest
from vlground.endpoint.secrets import GROUPS, refuse_secrets
from vlground.errors import VlgroundError
from vlground.identity import Stage, checksums, digest, relevant
from vlground.metrics.matrix import tally
from vlground.provenance import git_state, stack
from vlground.rows import RowFile
from vlground.weights import unidentified
from vlground.whole import one_line_on_failure, replacing, write_json

if TYPE_CHECKING:
    import pandas

log = logging.getLogger("vlground")

# Trainer options that make a run partial; such runs are never returned later.
_PARTIAL = (
    "fast_dev_run",
    "overfit_batches",
    "limit_train_batches",
    "limit_predict_batches",
    "limit_test_batches",
)
# Groups of which a task reads some; what it does not read is no choice of its runs.
_PARTS = ("model", "cam", "dataset", "metric", "mask", "judge", "detector", "reward")


@dataclass
class Cell:
    """One composed configuration.

    Attributes:
        node: The resolved configuration as plain dicts.
        choices: Group -> option (`model: efficientnet_lite0`).
        experiment: Name of the experiment file, if one was chosen.
        overrides: What the command line said.
        hydra: Hydra's own configuration, for the run directory.
        dataset: What they are read from, after `identify`.
        samples: What the run is about, after it.
        seconds: Of computing, after it.
    """

    node: dict[str, Any]
    choices: dict[str, str]
    experiment: str | None
    overrides: list[str]
    hydra: HydraConf
    dataset: DataSet | None = None
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0
    _identity: dict[str, Any] = field(default_factory=dict)
    _left_out: dict[str, int] = field(default_factory=dict)
    _rows: RowFile | None = None

    @classmethod
    def of(cls, config: DictConfig, hydra: HydraConf) -> "Cell":
        """Read a composed configuration.

        Raises:
            VlgroundError: If an option is missing (`???`) or refers to one that does not exist.
        """
        try:
            node = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            told = str(error).splitlines()[0]
            raise VlgroundError(f"{error.full_key}: {told}" if error.full_key else told) from error
        assert isinstance(node, dict)
        check_whole_numbers({str(name): value for name, value in node.items()})
        chosen = dict(hydra.runtime.choices)
        read = {*node["task"]["reads"], *node["task"]["scores_with"]}
        for group in GROUPS:
            if group in read:
                refuse_secrets(node[group], group)
        choices = {
            group: option
            for group, option in chosen.items()
            if (group in node or group == "method") and option is not None
            if group not in _PARTS or group in read
        }
        return cls(
            node={str(key): value for key, value in node.items()},
            choices=choices,
            experiment=chosen.get("experiment"),
            overrides=list(hydra.overrides.task),
            hydra=hydra,
        )

    def identify(self) -> None:
        """Index the data and compute what the run's identity is made of.

        Raises:
            VlgroundError: If the data are not there, a selection is malformed, or weights that are
                not here cannot be loaded either.
        """
        dataset, samples, _ = build_dataset(self.node["dataset"])
        selection = {name: self.node[name] for name in ("limit", "shard", "sample")}
        self.dataset, self.samples = dataset, select(samples, **selection)
        self._left_out = dict(dataset.skipped)
        if not self.samples:
            reasons = "; ".join(f"{why} ({n})" for why, n in self._left_out.items())
            raise VlgroundError(
                f"dataset={self.choices['dataset']}: no samples; left out: {reasons}"
            )
        if not self.node["sweep"]["dry_run"]:
            for group in self._without_weights:
                load_weights(self.node[group])  # now it is known which they are
        self._identity = {
            "task": self.choices["task"],
            "stage": self.stage.description,
            **{group: relevant(self.node[group]) for group in self._scoring},
            **self._scored_by,
            **self._options("scores"),
            "data": manifest(self.samples),
            "left_out": self._left_out,
            **selection,
        }

    @property
    def weights_missing(self) -> bool:
        """Whether weights of the model, or of the detector, are not on this machine."""
        return bool(self._without_weights)

    @property
    def _without_weights(self) -> list[str]:
        task = self.node["task"]
        read = {*task["reads"], *task["scores_with"]}
        return [g for g in ("model", "detector") if g in read and unidentified(self.node[g])]

    @property
    def stage(self) -> Stage:
        """The stage whose evidence the run scores: prediction, or training."""
        task = self.node["task"]
        reads = {name: self.node[name] for name in task["reads"]}
        reads["precision"] = self.node["trainer"]["precision"]
        reads |= self._options("stage")
        named = {name: self.node[name] for name in task["reads"]}
        components = versions(list(named.values()))
        if task["stage"] == "training":
            components[task["_target_"]] = get_class(task["_target_"]).version
            reads |= {name: self.node["trainer"].get(name) for name in ("strategy", "devices")}
            reads |= {"task": task, "seed": self.node["seed"]}
        else:
            reads["dataset"] = self.node["dataset"]["_target_"]
        return Stage(task["stage"], components, reads, checksums(named))

    @property
    def _scoring(self) -> list[str]:
        """Groups whose options the scores depend on, beside those of the stage and the data."""
        return [group for group in self.node["task"]["scores_with"] if group != "dataset"]

    def _options(self, of: str) -> dict[str, Any]:
        """Options outside the groups on which the `stage` depends, or the `scores`."""
        return {name: relevant(value) for name, value in self._named(of).items()}

    def _named(self, of: str) -> dict[str, Any]:
        names = self.node["task"].get("options", {}).get(of, [])
        return {name: self.option(name) for name in names}

    def option(self, name: str) -> Any:  # noqa: ANN401 - any option
        """The value of an option by its full name, such as `task.n`."""
        value: Any = self.node
        for part in name.split("."):
            value = value[part]
        return value

    @property
    def _scored_by(self) -> dict[str, Any]:
        """Versions and contents of masks and judges; without either, nothing."""
        named = {group: self.node[group] for group in self._scoring}
        weighed = {
            f"{group}.{option}": {"file": self.node[group][option]}
            for group, options in self.node["task"].get("weighs", {}).items()
            for option in options
            if self.node[group].get(option) is not None
        }
        found = {
            "versions": versions(list(named.values())),
            "contents": contents(named) | checksums(weighed) | checksums(self._named("scores")),
        }
        return {name: value for name, value in found.items() if value}

    def later(
        self,
        name: str,
        groups: Sequence[str],
        parent: Stage,
        further: Mapping[str, int] | None = None,
    ) -> Stage:
        """A stage that reads the evidence of another one.

        Args:
            name: Of the stage.
            groups: Whose options it reads, or the full name of an option (`task.nouns`).
            parent: The stage before it.
            further: Versions of what is no part of a configuration.
        """
        named = {group: self.option(group) for group in groups}
        components = versions(list(named.values())) | dict(further or {})
        return Stage(name, components, named, contents(named), (parent.fingerprint,))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for everything the results depend on."""
        return digest(self._identity or {"unreadable": relevant(self.node)})

    @property
    def title(self) -> str:
        """`model · cam · dataset`, with the mask if there is one."""
        return tracking.title(self.choices)

    @property
    def runs(self) -> Path:
        """The folder everything goes to."""
        return Path(self.node["runs"]).expanduser().absolute()

    @property
    def partial(self) -> bool:
        """Whether the trainer was told to stop early; such a run goes to `runs/debug`."""
        return any(self.node["trainer"].get(name) for name in _PARTIAL)

    @property
    def directory(self) -> Path:
        """Where this run lies."""
        task = "debug" if self.partial else self.choices["task"]
        return self.runs / task / f"{self.title.replace(' · ', '-')}-{self.fingerprint[:8]}"

    def results(self) -> dict[str, Any] | None:
        """The stored results, if this very run is done and may be returned."""
        import json

        path = self.directory / "results.json"
        if self.partial or self.node["overwrite"] or not path.exists():
            return None
        stored: dict[str, Any] = json.loads(path.read_text())
        return stored if stored["fingerprint"] == self.fingerprint else None

    def join_experiment(self, results: Mapping[str, Any]) -> None:
        """Note that an experiment shares a cell that another one has computed."""
        path = self.directory / "experiments.txt"
        names = path.read_text().split() if path.exists() else []
        if self.experiment and self.experiment not in [results["experiment"], *names]:
            with one_line_on_failure(path), path.open("a") as file:
                file.write(f"{self.experiment}\n")

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Open the run directory: the configuration, and a copy of the log while it runs."""
        with one_line_on_failure(self.directory):
            (self.directory / ".hydra").mkdir(parents=True, exist_ok=True)
            (self.directory / "error.txt").unlink(missing_ok=True)
            OmegaConf.save(self.node, self.directory / "config.yaml")
            OmegaConf.save(self.node, self.directory / ".hydra" / "config.yaml")
            OmegaConf.save(self.overrides, self.directory / ".hydra" / "overrides.yaml")
            OmegaConf.save({"hydra": self.hydra}, self.directory / ".hydra" / "hydra.yaml")
            handler = logging.FileHandler(self.directory / "run.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            if self._rows is not None:
                self._rows.discard()
            logging.getLogger().removeHandler(handler)
            handler.close()

    def forget(self) -> None:
        """Remove the directory of an impossible run, if it has no more than `recorded` made."""
        made = {".hydra", "config.yaml", "run.log"}
        if self.directory.is_dir() and {path.name for path in self.directory.iterdir()} <= made:
            shutil.rmtree(self.directory)

    def write_error(self, error: Exception) -> None:
        """Keep the traceback beside what the run would have written."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            text = "".join(traceback.format_exception(error))
            (self.directory / "error.txt").write_text(text)
        except OSError:
            log.error("%s: cannot write error.txt there", self.directory)

    def results_of(
        self,
        scores: Mapping[str, Mapping[str, Any]],
        rows: "pandas.DataFrame",
        device: str,
        details: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Everything that goes into `results.json`.

        Args:
            scores: Name -> value, low, high, n.
            rows: One a sample.
            device: It ran on.
            details: What else the task has to say; a `matrix` of its own is one.
        """
        return {
            "task": self.choices["task"],
            "choices": self.choices,
            "experiment": self.experiment,
            "fingerprint": self.fingerprint,
            "identity": self._identity,
            "stage": self.stage.fingerprint,
            "weights": self._identity["stage"]["checksums"],
            "scores": scores,
            "matrix": {} if "matrix" in details else tally(rows),
            "counts": count(rows, self._left_out),
            "overrides": self.overrides,
            "seconds": round(self.seconds, 3),
            "device": device,
            "versions": stack(),
            "git": git_state(),
            **details,
        }

    def save_figures(self, pictures: Mapping[str, Image.Image]) -> dict[str, Path]:
        """Write pictures into `figures/`; sample id -> file."""
        folder = self.directory / "figures"
        files = {name: folder / f"{digest(name)}.jpg" for name in pictures}
        with one_line_on_failure(folder):
            folder.mkdir(exist_ok=True)
            for name, picture in pictures.items():
                picture.save(files[name], quality=85)
        return files

    def facts(self) -> dict[str, Any]:
        """What W&B shows beside the choices."""
        git = git_state()
        commit = None if git is None else git["commit"]
        return {"seed": self.node["seed"], "fingerprint": self.fingerprint, "git": commit}

    def rows_in_parts(self, columns: Mapping[str, type]) -> RowFile:
        """Begin `rows.parquet`, of a task that has too many rows to keep more than their numbers.

        Args:
            columns: Name -> str, int, float or bool.
        """
        self._rows = RowFile(self.directory / "rows.parquet", columns)
        return self._rows

    def whole(self, rows: "pandas.DataFrame") -> "pandas.DataFrame":
        """Rows of a task's table with the texts that the table does not keep."""
        return rows if self._rows is None else self._rows.read(rows["id"])

    def write(self, results: Mapping[str, Any], rows: "pandas.DataFrame") -> None:
        """Write rows, unless they are written already, then results, each whole or not at all."""
        if self._rows is not None:
            self._rows.finish()
        else:
            with replacing(self.directory / "rows.parquet") as path:
                rows.to_parquet(path, index=False)
        write_json(self.directory / "results.json", results)
