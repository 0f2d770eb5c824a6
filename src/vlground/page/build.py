"""Puts the page together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlground.claim_index import index_file, read_claims
from vlground.identity import digest
from vlground.labels import (
    BASELINES,
    CELLS,
    COLUMNS,
    EXPLANATION_COLUMNS,
    FAITHFULNESS_COLUMNS,
    MATRIX,
    MATRIX_COLUMNS,
    NOTES,
)
from vlground.metrics.judge_matrix import READINGS
from vlground.page.ablation import settings
from vlground.page.document import document
from vlground.page.document import embedded as embedded
from vlground.page.explained import explained
from vlground.page.options import choice_columns, differing
from vlground.page.pictures import Album, fill, overlays, png, with_map
from vlground.page.reading import Run, Trouble, read
from vlground.page.rows import Table, table
from vlground.page.spreads import pairs
from vlground.page.strips import Strips
from vlground.plots import PANEL_GUTTER, PANELS, figure_3
from vlground.report import comparisons
from vlground.reporting.beside import beside_published
from vlground.reporting.block import Block
from vlground.reporting.explanation import judge_notes
from vlground.reporting.rewards import LABELS, RECOMMENDED
from vlground.reporting.tables import APART, order
from vlground.rewarded import TASKS
from vlground.whole import replacing

LIMIT = 9_900_000  # bytes of the page
ROWS = 3_000_000  # of it for rows
STRIPS = 4  # samples of a run whose figure 2 is drawn, where there is room
_SHARE = 0.4  # of the room for pictures that strips may take
_GROUNDING = ("pointing_game", "pg_uncertainty", "io_ratio", "iou_soft", "wdp_binary")
_FAITHFUL = ("deletion", "insertion", "road_combined")
_RECOMMENDED = (*_GROUNDING, *EXPLANATION_COLUMNS, *_FAITHFUL, *RECOMMENDED)
_ACCURACIES = {"matched_accuracy": "matched accuracy ↑", "foil_accuracy": "foil accuracy ↑"}
_LABELS = {
    **COLUMNS,
    **FAITHFULNESS_COLUMNS,
    **MATRIX_COLUMNS,
    **_ACCURACIES,
    **EXPLANATION_COLUMNS,
    **LABELS,
}
_FIRST = ("dom.js", "data.js", "statistics.js", "charts.js", "table.js")
_SCRIPTS = (
    *_FIRST,
    "matrix.js",
    "judge.js",
    "rewards.js",
    "detail.js",
    "samples.js",
    "compare.js",
    "ablation.js",
    "people.js",
    "claims.js",
    "main.js",
)


@dataclass(frozen=True)
class Page:
    """What was written.

    Attributes:
        path: The file.
        size: Its bytes.
        runs: Runs on it.
        troubles: Run directories without results that it lists.
    """

    path: Path
    size: int
    runs: int
    troubles: list[Trouble]


def write_page(runs: Path, extra: Sequence[Block] = (), human: Sequence[Path] = ()) -> Page:
    """Write `report.html` into a folder of runs.

    Args:
        runs: The folder.
        extra: Further tables to show on it.
        human: CSV files of people's scores, which judges are drawn against.

    Raises:
        VlgroundError: If it cannot be written there, or a file cannot be read.
    """
    whole, troubles = read(runs)
    whole.sort(key=lambda run: order(run.results))
    text = page(runs, whole, troubles, extra, _means(human))
    with replacing(runs / "report.html") as temporary:
        temporary.write_text(text, "utf-8")
    return Page(runs / "report.html", len(text.encode()), len(whole), troubles)


def page(
    folder: Path,
    runs: Sequence[Run],
    troubles: Sequence[Trouble],
    extra: Sequence[Block] = (),
    people: Mapping[str, float] | None = None,
) -> str:
    """The page as text, with as many pictures as there is room for.

    Args:
        folder: Of the runs.
        runs: In the tables' order.
        troubles: Run directories without results.
        extra: Further tables.
        people: Sample id -> mean score that people gave, 0-5.
    """
    rows = table(runs, ROWS)
    data = _data(runs, troubles, rows)
    data["people"] = dict(people or {})
    data["extra"] = [_block(one) for one in extra]
    data["published"] = [_block(beside_published(one)) for one in comparisons(folder)]
    room = LIMIT - len(_html({**data, "pictures": [], "size": "00.0 MB"}).encode())
    album, strips = Album(), Strips(folder)
    spreads = pairs(runs)
    data["figure3"] = album.add(png(figure_3(spreads))) if spreads else None
    drawn, all_drawn = fill(album, runs, int(room * _SHARE), strips.draw, with_map, STRIPS)
    taken = album.size + len(embedded(drawn).encode())
    seen, note = overlays(album, runs, room - taken)
    for entry, strip, shown in zip(data["runs"], drawn, seen, strict=True):
        entry["strips"], entry["overlays"] = strip, shown
        # Runs of another paper have no figure 2, which needs no reason.
        apart = entry["explanation"] is not None or entry["rewarded"]
        entry["noStrips"] = "" if apart else strips.reasons.get(entry["path"], "")
    data |= {"pictures": album.pictures, "allStrips": all_drawn, "overlayNote": note}
    size = len(_html({**data, "size": "00.0 MB"}).encode())
    return _html({**data, "size": f"{size / 1e6:.1f} MB"})


def _data(runs: Sequence[Run], troubles: Sequence[Trouble], rows: Table) -> dict[str, Any]:
    results = [run.results for run in runs]
    telling, chosen = differing(results), settings(results)
    return {
        "groups": choice_columns(results),
        "labels": _LABELS,
        "judged": list(EXPLANATION_COLUMNS),
        "readings": READINGS,
        "matrix": MATRIX,
        "cells": CELLS,
        "recommended": _RECOMMENDED,
        "notes": NOTES if any(r.get("task") not in APART for r in results) else "",
        "judges": judge_notes([r for r in results if r.get("task") == "explanation"]),
        "panels": PANELS,
        "gutter": 1 / PANEL_GUTTER,
        "samples": rows.samples,
        "sets": rows.sets,
        "columns": rows.columns,
        "reasons": rows.reasons,
        "cuts": rows.cuts,
        "foils": rows.foils,
        "words": rows.words,
        "claims": _claims(),
        "troubles": [asdict(trouble) for trouble in troubles],
        "runs": [
            {**_run(run), "options": options, "settings": one, "rows": embedded_rows}
            for run, options, one, embedded_rows in zip(
                runs, telling, chosen, rows.runs, strict=True
            )
        ],
    }


def _run(run: Run) -> dict[str, Any]:
    results = run.results
    choices = {str(group): str(option) for group, option in results["choices"].items()}
    identity = results.get("identity")
    comparable = [choices.get("dataset"), choices.get("metric")]
    if isinstance(identity, Mapping):
        comparable += [identity.get("data"), identity.get("metric"), identity.get("judge")]
    about = ("task", "experiment", "seconds", "device", "versions", "git", "stage", "world")
    return {
        "path": run.path,
        "fingerprint": str(results.get("fingerprint", "")),
        "choices": choices,
        "baseline": choices.get("cam") in BASELINES,
        # Only runs on the same samples by the same metric are ranked against each other.
        "peers": digest(comparable),
        "scores": results["scores"],
        "counts": results["counts"],
        "matrix": results.get("matrix", {}),
        "explanation": explained(run),
        "experiments": _experiments(run),
        "rewarded": results.get("task") in TASKS,
        "review": (run.folder / "review.html").is_file(),
        "identity": identity,
        "about": {name: results[name] for name in about if name in results},
        "problem": run.problem,
    }


def _experiments(run: Run) -> list[str]:
    """The one that computed it, and those that found it done."""
    others = run.folder / "experiments.txt"
    names = others.read_text("utf-8").split() if others.exists() else []
    return list(filter(None, [run.results.get("experiment"), *names]))


def _claims() -> list[dict[str, Any]]:
    """The index of claims without its links: they lead to files that the reader may not have."""
    file = index_file()
    found = read_claims(file) if file is not None else []
    names = ("paper", "words", "commands", "status", "experiments")
    return [{name: getattr(claim, name) for name in names} for claim in found]


def _means(human: Sequence[Path]) -> dict[str, float]:
    if not human:
        return {}
    from vlground.alignment.people import read_scores
    from vlground.metrics.ratings import mean_of

    ratings = read_scores(human).ratings
    means = mean_of(ratings.scores)
    return {name: round(float(mean), 3) for name, mean in zip(ratings.ids, means, strict=True)}


def _block(block: Block) -> list[Any]:
    return [block.caption, block.heads, block.rows, block.notes, block.words]


def _html(data: Mapping[str, Any]) -> str:
    return document("template.html", "page.css", _SCRIPTS, data)
