"""The command `vlground-push`: create or update Weights & Biases runs from what is on disk.

    vlground-push [runs=DIR] [experiment=NAME] [project=…] [entity=…] [group=…] [tags=a,b]
                  [salt=…] [again=true] [dry_run=true]

runs        where the results lie (default: runs); one run's own folder will do
experiment  only the runs of this experiment
project, entity, group, tags   in place of the run's own
salt        any word: a new W&B run, where W&B refuses the id of one that was deleted
again       send also what has not changed since the last push
dry_run     say what would be sent, and send nothing

A run has one W&B run for each project and group; pushing twice updates it. `results.json`,
`rows.parquet` and `config.yaml` go along as an artifact, and a run names the artifacts of the runs
that it builds on.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vlground import tracking
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.lineage import in_order, parents

FETCHED = "wandb"  # where `vlground-report --wandb` puts runs, in the folder of runs


@dataclass(frozen=True)
class Options:
    """What the command line said; None is the run's own."""

    runs: Path = Path("runs")
    experiment: str | None = None
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: list[str] | None = None
    salt: str = ""
    again: bool = False
    dry_run: bool = False

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "Options":
        """Read `key=value` arguments.

        Raises:
            VlgroundError: If one is unknown or malformed.
        """
        given: dict[str, Any] = {}
        names = [option.name for option in fields(cls)]
        for argument in arguments:
            name, equals, value = argument.partition("=")
            if name not in names or not equals:
                raise VlgroundError(f"{argument}: expected one of {'=, '.join(names)}=")
            given[name] = _value(name, value)
        return cls(**given)


@dataclass(frozen=True)
class Stored:
    """A run as it lies on disk.

    Attributes:
        directory: Of the run.
        described: As W&B shall show it.
        project: The one it was configured for.
        results: `results.json`.
        rows: `rows.parquet`.
        figures: Sample id -> picture.
    """

    directory: Path
    described: tracking.Described
    project: str
    results: dict[str, Any]
    rows: list[dict[str, Any]]
    figures: dict[str, Path]

    @classmethod
    def read(cls, directory: Path) -> "Stored":
        """Read a run directory."""
        import pyarrow.parquet
        from omegaconf import OmegaConf

        results = json.loads((directory / "results.json").read_text())
        node: Any = OmegaConf.to_container(OmegaConf.load(directory / "config.yaml"))
        rows = pyarrow.parquet.read_table(directory / "rows.parquet").to_pylist()
        git = results["git"]
        facts = {
            "seed": node["seed"],
            "fingerprint": results["fingerprint"],
            "git": None if git is None else git["commit"],
        }
        files = {row["id"]: directory / "figures" / f"{digest(row['id'])}.jpg" for row in rows}
        return cls(
            directory=directory,
            described=tracking.Described.of(results["choices"], node, results["experiment"], facts),
            project=node["logger"].get("project") or "vlground",
            results=results,
            rows=rows,
            figures={name: path for name, path in files.items() if path.exists()},
        )

    def destined(self, options: Options) -> "Stored":
        """The run with the project, group and tags that the command line asks for."""
        described = self.described
        group = options.group or options.experiment or described.group
        tags = described.tags if options.tags is None else options.tags
        described = replace(described, group=group, tags=tags)
        return replace(self, described=described, project=options.project or self.project)

    def content(self, linked: Sequence[Path] = ()) -> str:
        """A digest of everything that W&B shows of the run.

        Args:
            linked: Runs that it builds on whose artifacts it names.
        """
        sent = {name: _checksum(path) for name, path in self.figures.items()}
        files = [_checksum(path) for path in self.files]
        shown = asdict(self.described), tracking.flat_scores(self.results)
        return digest([*shown, sent, files, [one.name for one in linked]])

    @property
    def files(self) -> list[Path]:
        """What its artifact holds."""
        paths = [self.directory / name for name in tracking.FILES]
        return [path for path in paths if path.exists()]

    def upload(self, entity: str | None, identifier: str | None) -> tuple[bool, list[Path]]:
        """Create or update a W&B run.

        Args:
            entity: W&B user or team; None is the default one.
            identifier: Of the W&B run; None: the one that the agent of a W&B sweep has opened.

        Returns:
            Whether it was there before, and the runs that it builds on whose artifacts are not
            there.

        Raises:
            VlgroundError: If something did not arrive.
        """
        import wandb

        # Whatever W&B records about a machine by itself is about the one that computed.
        settings = wandb.Settings(
            console="off",
            disable_git=True,
            program="vlground-push",
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        with TemporaryDirectory() as folder:
            place = self.project, entity, Path(folder)
            run = self.described.begin(*place, "online", identifier, settings)
            exit_code = 1
            try:
                tracking.send(run, self.results, self.rows, self.figures)
                unlinked = tracking.attach(run, self.directory)
                exit_code = 0
            finally:
                errors = tracking.close(exit_code)
        if errors:
            raise VlgroundError(errors[0])
        return bool(run.resumed), unlinked


def main() -> None:
    """Entry point of `vlground-push`."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        failed = push(Options.parse(sys.argv[1:]))
    except VlgroundError as error:
        sys.exit(str(error))
    if failed:
        sys.exit(f"{failed} failed")


def push(options: Options) -> int:
    """Send every run that is asked for, and say in a line what became of each.

    Returns:
        How many failed.

    Raises:
        VlgroundError: If there is nothing to send or no login.
    """
    directories = _chosen(options)
    url, entity = (None, options.entity) if options.dry_run else _login(options.entity)
    failed = 0
    for directory in in_order(directories):
        try:
            line = _push(directory, options, url, entity)
        # Whatever W&B raises, the other runs are sent.
        except Exception as error:
            failed += 1
            line = f"failed     {directory}: {tracking.one_line(error)}{_hint(error)}"
        print(line, flush=True)
    return failed


def _push(directory: Path, options: Options, url: str | None, entity: str | None) -> str:
    stored = Stored.read(directory).destined(options)
    project, group = stored.project, stored.described.group
    before = parents(directory)
    content = stored.content(tracking.linkable(before, url, entity, project))
    known = tracking.known_run(directory, url, entity, project, group)
    if known is None or options.salt:
        parts = [stored.results["fingerprint"], project, group, options.salt]
        known = {"id": digest(parts), "sent": None}
    place = f"{stored.described.name}  {entity or '?'}/{project}/{known['id']}"
    if known["sent"] == content and not options.again:
        return f"unchanged  {place}"
    if options.dry_run:
        return f"would send {place}"
    resumed, unlinked = stored.upload(entity, known["id"])
    where = {"url": url, "entity": entity, "project": project, "group": group}
    tracking.remember(directory, {**where, "id": known["id"], "sent": content})
    told = f"  (builds on {len(unlinked)} that {project} lacks)" if unlinked else ""
    return f"{'updated' if resumed else 'created':10} {place}{told}"


def _chosen(options: Options) -> list[Path]:
    """Directories of the runs that are asked for, without debug runs and what W&B gave."""
    if not options.runs.is_dir():
        raise VlgroundError(f"runs={options.runs}: no such folder")
    paths = sorted(options.runs.rglob("results.json"))
    own = [path for path in paths if path.relative_to(options.runs).parts[-5:-4] != (FETCHED,)]
    found = [path.parent for path in own if path.absolute().parts[-3] != "debug"]
    if options.experiment is not None:
        found = [path for path in found if options.experiment in _experiments(path)]
    if not found:
        of = f" of experiment={options.experiment}" if options.experiment else ""
        raise VlgroundError(f"runs={options.runs}: no results.json{of} under it")
    return found


def _experiments(directory: Path) -> set[str]:
    """The experiment that computed a run, and those that found it done already."""
    others = directory / "experiments.txt"
    first = json.loads((directory / "results.json").read_text())["experiment"]
    return {first, *(others.read_text().split() if others.exists() else ())}


def _login(entity: str | None) -> tuple[str, str]:
    """Address of the server, and whose projects are meant.

    Raises:
        VlgroundError: If the server does not let us in.
    """
    import wandb

    tracking.hush()
    if not tracking.logged_in():
        raise VlgroundError("no W&B login: run `wandb login`, or set WANDB_API_KEY")
    try:
        api = wandb.Api()
        return api.settings["base_url"], entity or str(api.default_entity)
    except Exception as error:
        raise VlgroundError(f"W&B: {tracking.one_line(error)}") from error


def _hint(error: Exception) -> str:
    return " (salt=WORD makes a new run)" if "deleted" in str(error) else ""


def _value(name: str, value: str) -> str | bool | Path | list[str]:
    if name in ("again", "dry_run"):
        if value not in ("true", "false"):
            raise VlgroundError(f"{name}={value}: expected true or false")
        return value == "true"
    if name == "tags":
        return [tag for tag in value.split(",") if tag]
    return Path(value) if name == "runs" else value


def _checksum(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
