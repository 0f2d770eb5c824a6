"""How well a judge agrees with people: their files, the analysis, its tables and heat maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from vlground.reporting.block import Block


def tables(
    folder: Path,
    chosen: Mapping[str, str],
    human: Sequence[Path] = (),
    acceptance: Sequence[Path] = (),
    reference: str | None = None,
) -> "list[Block]":
    """What `vlground-report` shows of people and judges.

    Args:
        folder: Of runs.
        chosen: As for `vlground.report.collect`.
        human: CSV files of people's scores, see `vlground.alignment.people.read_scores`.
        acceptance: Of their decisions, see `vlground.alignment.people.read_decisions`.
        reference: The run that others are compared with, see
            `vlground.alignment.runs.reference_of`.

    Raises:
        VlgroundError: A file or the runs do not allow it; one line says why.
    """
    # Not above: reporting imports nothing of this, and whoever asks for a part needs not all.
    from vlground.alignment.acceptance import accept
    from vlground.alignment.analysis import align, images_of
    from vlground.alignment.blocks import acceptance_blocks, alignment_blocks
    from vlground.alignment.people import read_decisions, read_scores
    from vlground.alignment.runs import explained

    runs = explained(folder, chosen)
    found = alignment_blocks(align(runs, read_scores(human), reference)) if human else []
    if acceptance:
        found += acceptance_blocks(accept(read_decisions(acceptance), images_of(runs)))
    return found


def figures(
    folder: Path,
    chosen: Mapping[str, str],
    human: Sequence[Path] = (),
    reference: str | None = None,
) -> "dict[str, Image.Image]":
    """Heat maps over alpha and beta, by name; none if the runs are not such a sweep.

    Args:
        folder: See `tables`, like all that follow. Without `human` there are the runs' own scores.
        chosen: See `tables`.
        human: See `tables`.
        reference: See `tables`.

    Raises:
        VlgroundError: As `tables`; or two runs have the same alpha and beta and nothing tells them
            apart.
    """
    from vlground.alignment.analysis import align
    from vlground.alignment.grid import alignment_figure, grid_figure, is_grid
    from vlground.alignment.people import read_scores
    from vlground.alignment.runs import explained

    runs = explained(folder, chosen)
    results = [run.results for run in runs]
    if not is_grid(results):
        return {}
    scores = {name for one in results for name in one["scores"]}
    found = {f"alpha_beta_{name}": grid_figure(results, name) for name in sorted(scores)}
    if human:
        alignment = align(runs, read_scores(human), reference)
        found["alpha_beta_pearson"] = alignment_figure(alignment, results)
    return found
