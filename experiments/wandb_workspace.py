"""Saves a W&B workspace for ablations: `python experiments/wandb_workspace.py ENTITY/PROJECT`.

Needs `pip install 'vlground[workspace]'` and a login. A section is a namespace: parallel
coordinates from the choices to its scores, and a bar chart a score. The first section says in which
options the runs that are shown differ. Every call saves a new view.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

CHOICES = ("model", "cam", "dataset", "mask")
SCORES = {
    "grounding": ("pointing_game", "io_ratio", "iou_soft", "wdp_soft"),
    "explanation": ("accuracy", "judge_score", "correct_high", "correct_low"),
    "matrix": ("accuracy", "matched_correct_high", "matched_wrong_high"),
    "reward": ("penalty", "winner/chair_i", "refined/chair_i", "refined/recall"),
    "pope": ("f1", "accuracy", "yes_ratio"),
    "claims": ("chair_i", "recall", "wrong_sentences"),
}


def workspace(entity: str, project: str) -> "Workspace":
    """The workspace; nothing is sent yet."""
    from wandb_workspaces.reports.v2 import RunComparer
    from wandb_workspaces.workspaces import RunsetSettings, Section, Workspace

    differences = Section(
        name="what differs", panels=[RunComparer(diff_only="split")], is_open=True
    )
    shown = [f"config:{choice}" for choice in CHOICES]
    return Workspace(
        entity=entity,
        project=project,
        name="vlground ablations",
        sections=[differences, *(_section(space) for space in SCORES)],
        runset_settings=RunsetSettings(pinned_columns=["run:displayName", *shown]),
    )


def _section(space: str) -> "Section":
    from wandb_workspaces.reports import v2
    from wandb_workspaces.workspaces import Section

    names = [f"{space}/{score}" for score in SCORES[space]]
    axes = [
        *(v2.ParallelCoordinatesPlotColumn(metric=v2.Config(choice)) for choice in CHOICES),
        *(v2.ParallelCoordinatesPlotColumn(metric=v2.SummaryMetric(name)) for name in names),
    ]
    bars = [v2.BarPlot(title=name, metrics=[name]) for name in names]
    return Section(name=space, panels=[v2.ParallelCoordinatesPlot(columns=axes), *bars])


if __name__ == "__main__":
    if sys.argv[1:2] in ([], ["-h"], ["--help"]) or sys.argv[1].count("/") != 1:
        sys.exit(__doc__)
    print(workspace(*sys.argv[1].split("/")).save().url)
