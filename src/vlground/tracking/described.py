"""What W&B calls a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb

_TITLE = ("model", "cam", "dataset", "mask", "judge", "detector", "reward")


@dataclass(frozen=True)
class Described:
    """What W&B calls a run.

    Attributes:
        name: Shown in lists.
        group: The experiment.
        job_type: The task.
        tags: As chosen.
        notes: As chosen.
        config: Choices, seed, fingerprint, commit; the whole configuration under `cfg`.
    """

    name: str
    group: str | None
    job_type: str
    tags: list[str]
    notes: str
    config: dict[str, Any]

    @classmethod
    def of(
        cls,
        choices: Mapping[str, str],
        node: Mapping[str, Any],
        experiment: str | None,
        facts: Mapping[str, Any],
    ) -> "Described":
        """Describe a cell, of the command line or read from disk.

        Args:
            choices: Group -> option.
            node: The whole configuration.
            experiment: It belongs to, if any.
            facts: Seed, fingerprint and commit.
        """
        return cls(
            name=title(choices),
            group=experiment,
            job_type=choices["task"],
            tags=list(node["tags"]),
            notes=node["notes"],
            config={**choices, **facts, "cfg": dict(node)},
        )

    def begin(
        self,
        project: str,
        entity: str | None,
        directory: Path,
        mode: str | None,
        identifier: str | None = None,
        settings: "wandb.Settings | None" = None,
    ) -> "wandb.Run":
        """Open the W&B run.

        In a W&B sweep its agent says which run of which project this is, and W&B takes neither from
        here.

        Args:
            project: W&B project.
            entity: W&B user or team; None is the default one.
            directory: Where W&B keeps its own files.
            mode: `online`, `offline` or `disabled`; None is W&B's own default.
            identifier: Of a run to create or to update; None is always a new one.
            settings: Further settings of W&B.
        """
        import wandb

        return wandb.init(
            project=project,
            entity=entity,
            group=self.group,
            job_type=self.job_type,
            name=self.name,
            tags=self.tags,
            notes=self.notes,
            config=self.config,
            dir=str(directory),
            mode=mode,  # type: ignore[arg-type]  # W&B checks the word
            id=identifier,
            resume=None if identifier is None else "allow",
            settings=settings,
        )


def title(choices: Mapping[str, str]) -> str:
    """The name of a run.

    >>> title({"model": "clip_rn50", "cam": "gradcam", "dataset": "photos", "mask": "none"})
    'clip_rn50 · gradcam · photos'
    """
    shown = [choices.get(group) for group in _TITLE]
    return " · ".join(name for name in shown if name and name != "none")
