"""The tables of `vlground-report`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import command
from vlground.labels import COLUMNS, MATRIX, MATRIX_COLUMNS
from vlground.report import collect, main
from vlground.reporting.notes import left_out
from vlground.reporting.printing import markdown
from vlground.reporting.rewards import reward_blocks
from vlground.reporting.tables import order, table, tables


def result(dataset: str, model: str, cam: str, decides: bool = False, **counts: int) -> Any:
    """As in `results.json`; the IO_ratio says which run it is."""
    scores = {"io_ratio": {"value": len(model) / 10, "low": 0.1, "high": 0.9, "n": 30}}
    if decides:
        scores |= {name: {"value": 0.25, "low": None, "high": None, "n": 60} for name in MATRIX}
    counts = {"samples": 40, "scored": 30, "truncated": 0, "truncated_foils": 0, **counts}
    return {
        "choices": {"dataset": dataset, "model": model, "cam": cam, "metric": "q_groundcam"},
        "identity": {"metric": {"match_threshold": 0.5, "high_io_ratio": 0.6}},
        "scores": scores,
        "matrix": {"missing": "" if decides else "it only ranks"},
        "counts": {
            **counts,
            "skipped": {},
            "flagged": {"constant": 10},
            "annotations_left_out": {"duplicate id": 3},
        },
    }


def test_one_data_set_names_every_run() -> None:
    heads, rows = table([result("d", "a", "x"), result("d", "a", "y")], " ")
    assert heads == ["model", "cam", "n", "IO_ratio ↑"]
    assert [row[:2] for row in rows] == [["a", "x"], ["a", "y"]]


def test_several_data_sets_are_grouped_by_data_set_and_model() -> None:
    runs = [result(d, m, c) for d in "de" for m in ("a", "bb") for c in "xy"]
    heads, rows = table(runs, " ")
    assert heads == ["data set", "model", "cam", "n", "IO_ratio ↑"]
    assert [row[:3] for row in rows] == [
        ["d", "a", "x"],
        ["", "", "y"],
        ["", "bb", "x"],
        ["", "", "y"],
        ["e", "a", "x"],
        ["", "", "y"],
        ["", "bb", "x"],
        ["", "", "y"],
    ]
    assert rows[-1][4] == "0.200 0.10–0.90"


def test_a_constant_cam_is_in_the_caption() -> None:
    runs = [result(d, m, "x") for d in "de" for m in ("a", "bb")]
    heads, rows = table(runs, " ")
    assert heads[:3] == ["data set", "model", "n"]
    assert [row[:2] for row in rows] == [["d", "a"], ["", "bb"], ["e", "a"], ["", "bb"]]
    assert "**2 data sets, cam=x**" in markdown(runs)
    # The first model of a data set is named, though it is the last one of the data set above.
    assert table([runs[0], runs[2]], " ")[1][1][:2] == ["e", "a"]


def test_annotations_that_became_no_sample_are_told() -> None:
    assert left_out([result("d", "a", "x")]) == ["annotations left out, all: duplicate id (3)"]


def test_only_runs_that_decide_are_in_the_second_table() -> None:
    runs = [result("d", "a", "x"), result("d", "bb", "x", decides=True, truncated=3)]
    (_, first, columns), (_, second, cells) = tables(runs)
    assert (first, columns) == (runs, COLUMNS)
    assert (second, cells) == (runs[1:], MATRIX_COLUMNS)
    heads, rows = table(second, " ", cells)
    assert heads[2:5] == ["decisions", "accuracy ↑", "matched correct high"]
    assert len(heads) == 2 + 1 + 9
    assert rows[0][2] == "60"
    text = markdown(runs)
    assert "match ≥ 0.5" in text
    assert "IO_ratio ≥ 0.6" in text
    assert "not in the matrix, a: it only ranks" in text
    assert "cut to the context, bb: 3 texts and 0 foils of 40 samples" in text


def test_without_a_model_that_decides_nothing_is_said_of_the_matrix() -> None:
    text = markdown([result("d", "a", "x"), result("e", "a", "x")])
    assert "decision" not in text
    assert "matrix" not in text


def test_baselines_stand_after_the_cams_of_their_model() -> None:
    runs = [result("d", "a", cam) for cam in ("uniform", "gradcam", "center", "zcam")]
    cams = [run["choices"]["cam"] for run in sorted(runs, key=order)]
    assert cams == ["gradcam", "zcam", "uniform", "center"]


def test_masks_stand_in_the_order_of_their_numbers() -> None:
    runs = [result("d", "a", "x") for _ in range(3)]
    for run, alpha in zip(runs, (15, 5.0, 100), strict=True):
        run["identity"]["mask"] = {"alpha": alpha, "resize": "bicubic", "edge": None}
        run["overrides"] = [f"mask.alpha={alpha}"]
    alphas = [run["identity"]["mask"]["alpha"] for run in sorted(runs, key=order)]
    assert alphas == [5.0, 15, 100]
    del runs[0]["identity"]
    assert len(sorted(runs, key=order)) == 3, "a run of an older version has none"


def test_what_the_command_line_set_tells_rows_apart() -> None:
    runs = [result("d", "a", "x"), result("d", "a", "x"), result("d", "a", "y")]
    for run, layer in zip(runs, ("8", "7", "8"), strict=True):
        run["overrides"] = [f"cam.layer={layer}", "metric.tie=any", "seed=0"]
    heads, rows = table(runs, " ")
    assert heads[:3] == ["model", "cam", "options"]
    assert [row[2] for row in rows] == ["cam.layer=8", "cam.layer=7", "cam.layer=8"]
    del runs[1]
    assert "options" not in table(runs, " ")[0]


def test_only_what_is_chosen_is_collected(tmp_path: Path) -> None:
    for name, experiment in (("a", "one"), ("bb", "two"), ("c", None)):
        folder = tmp_path / "grounding" / name
        folder.mkdir(parents=True)
        content = {**result("d", name, "x"), "experiment": experiment, "task": "grounding"}
        content |= {"fingerprint": name, "seconds": 1.0}
        (folder / "results.json").write_text(json.dumps(content))
    (tmp_path / "grounding" / "c" / "experiments.txt").write_text("two\n")

    def models(**chosen: str) -> list[str]:
        return [run["choices"]["model"] for run in collect(tmp_path, chosen)]

    assert models() == ["a", "bb", "c"]
    assert models(experiment="two") == ["bb", "c"]
    assert models(model="a,c", experiment="one,two") == ["a", "c"]
    assert models(cam="y") == []


def test_a_training_has_no_row_among_maps() -> None:
    training = result("d", "a", "x")
    training["scores"] = {"accuracy": {"value": 0.5, "low": None, "high": None, "n": 60}}
    named = [columns for _, _, columns in tables([training])]
    assert named == [MATRIX_COLUMNS]
    assert "grounded" not in markdown([training]), "it has no map"
    assert len(tables([training, result("d", "a", "x")])[0][1]) == 1


@pytest.mark.parametrize("arguments", [("runs",), ("nowhere",)])
def test_no_results_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    output = command("vlground.report", *arguments, cwd=tmp_path, code=1)
    assert output.strip() == f"{arguments[0]}: no results.json under it"


def told(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """What the command prints, and what it says beside it."""
    monkeypatch.setattr("sys.argv", ["vlground-report", *arguments])
    main()
    found = capsys.readouterr()
    return found.out, found.err


def test_what_was_published_is_told_without_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(tmp_path), "experiment=vigor_table1", "--format=markdown"]
    out, err = told(named, monkeypatch, capsys)
    assert "vigor_table1: ours beside published" in out
    assert "| 3.24 " in out
    assert f"{tmp_path}: no results.json under it of experiment=vigor_table1" in err
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(SystemExit, match=r"no results\.json under it of experiment=photos"):
        told([str(tmp_path), "experiment=photos"], monkeypatch, capsys)


def test_failed_runs_and_cells_that_nobody_ran_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tmp_path / "grounding" / "failed"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("Traceback\nValueError: no such photo\n")
    sweep = tmp_path / "sweeps" / "one"
    sweep.mkdir(parents=True)
    cells = [[f"model=m{number}", "experiment=vigor_table1"] for number in range(10)]
    (sweep / "cells.json").write_text(json.dumps({"cells": cells, "experiment": "vigor_table1"}))
    out, err = told([str(tmp_path), "experiment=vigor_table1"], monkeypatch, capsys)
    assert "grounding/failed: failed: ValueError: no such photo" in err
    assert "vigor_table1: not run (10): model=m0; model=m1" in err
    assert "model=m7 and 2 more" in err
    assert "not run (10)" not in out, "the tables may go into a file"


def selection(number: int, normalise: str) -> Any:
    """Results of task=rejection_sampling."""
    score = {"value": number / 10, "low": None, "high": None, "n": 9}
    counts = {"images": 9, "ties": number, "emptied": number, "sentences_removed": 2 * number}
    return {
        "task": "rejection_sampling",
        "choices": {"dataset": "d", "model": f"m{number}"},
        "identity": {"metric": {"streams": ["nouns"], "normalise": normalise, "refine": "nouns"}},
        "reward": {"counts": counts},
        "scores": {"ties": score, "winner/words": score},
        "counts": {
            **{"samples": 9, "scored": 8, "skipped": {}, "flagged": {"empty": 1}},
            "annotations_left_out": {},
        },
    }


def test_how_winners_came_about_is_a_table_where_there_are_many() -> None:
    few = reward_blocks([selection(number, "std") for number in range(4)])
    assert len(few) == 1
    assert "m3: 9 images, ties 0.300 (3), all tied 0" in "\n".join(few[0].notes)
    runs = [selection(number, "rank" if number else "std") for number in range(48)]
    arms, table = reward_blocks(runs)
    assert len(arms.notes) < 8, "no note a run"
    assert "not scored, all: 1 of 9 candidates: empty (1)" in arms.notes
    assert table.caption == "rejection sampling: d: how winners came about"
    assert len(table.rows) == 48
    row = dict(zip(table.heads, table.rows[7], strict=True))
    assert (row["run"], row["chosen"]) == ("m7", "normalise rank")
    assert (row["ties"], row["sentences removed"]) == ("0.700 (7)", "14")
    assert list(table.notes) == ["all: streams nouns, pool ? ?, refine nouns."]
