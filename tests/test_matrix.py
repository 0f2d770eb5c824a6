"""Right or wrong × well or badly grounded: from a model that decides to results, W&B and tables."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from tests import cli
from tests.browser import Browser
from tests.cli import command, vlground
from tests.deciders import Decider, DecidingBlip
from tests.scorers import PatchScorer
from tests.test_tasks import run
from tests.wandb_file import OfflineRun
from tests.wandb_server import KEY, serving
from tests.worlds import planted
from vlground.cams.baselines import Center, Random, Uniform
from vlground.cams.gradient import HiResCAM
from vlground.contracts import CAM, Scorer
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.labels import CELLS, MATRIX, TEXTS
from vlground.metrics import QGroundCAM, matrix
from vlground.metrics.statistics import bootstrap_mean
from vlground.page import build
from vlground.tasks.grounding import Grounding

N = 24


def decided(
    folder: Path,
    samples: list[Sample],
    cam: CAM | None,
    metric: QGroundCAM | None = None,
    scorer: Scorer | None = None,
) -> Grounding:
    """A run of a model that decides; with `cam=None` from stored evidence alone."""
    return run(folder, samples, cam, metric, scorer=scorer or Decider())


def world() -> list[Sample]:
    """Planted samples; of every third the "foil" is the bright cell, so that it deceives."""
    samples = planted(N)
    return [replace(s, foil=s.text) if i % 3 == 0 else s for i, s in enumerate(samples)]


def test_decisions_and_maps_meet_in_cells(tmp_path: Path) -> None:
    task = decided(tmp_path, world(), HiResCAM())
    rows, scores = task.table, task.scores()
    assert (rows["match"] > 0.5).all()
    assert set(rows["cell"]) == {"correct_high"}
    deceived = np.arange(N) % 3 == 0
    assert ((rows["foil_match"] > 0.5) == deceived).all()
    assert (rows["foil_cell"] == np.where(deceived, "wrong_high", "correct_high")).all()
    assert scores["accuracy"]["value"] == pytest.approx(5 / 6)
    assert scores["accuracy"]["n"] == 2 * N
    assert scores["matched_accuracy"]["value"] == 1
    assert scores["foil_accuracy"]["value"] == pytest.approx(2 / 3)
    assert scores["foil_wrong_high"]["value"] == pytest.approx(1 / 3)
    assert scores["foil_wrong_high"]["low"] < 1 / 3 < scores["foil_wrong_high"]["high"]
    for text in TEXTS:
        shares = [scores[f"{text}_{cell}"]["value"] for cell in CELLS]
        assert sum(shares) == pytest.approx(1)
    assert matrix.tally(rows)["foil"] == {
        "correct_high": 16,
        "correct_low": 0,
        "wrong_high": 8,
        "wrong_low": 0,
        "outside": 0,
        "undecided": 0,
    }
    assert set(scores) >= set(MATRIX)


def test_thresholds_are_read_from_stored_evidence(tmp_path: Path) -> None:
    drawn = decided(tmp_path, world(), HiResCAM()).table
    strict = QGroundCAM(match_threshold=0.999, high_io_ratio=0.999)
    again = run(tmp_path, world(), None, strict)
    assert again.scorer is None, "no model"
    assert set(again.table["cell"]) == {"wrong_low"}, "the same map, the same probability"
    assert set(again.table["foil_cell"]) == {"correct_low"}
    assert (again.table["match"] == drawn["match"]).all()
    exactly = QGroundCAM(match_threshold=drawn["match"][0], high_io_ratio=drawn["io_ratio"][0])
    assert run(tmp_path, world(), None, exactly).table["cell"][0] == "correct_high", "from … on"


def test_a_model_that_only_ranks_has_no_matrix_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="vlground"):
        task = run(tmp_path, planted(3), HiResCAM())
        run(tmp_path / "b", planted(3), HiResCAM())
    assert not set(task.scores()) & set(MATRIX)
    assert task.table[["match", "foil_match", "cell", "foil_cell"]].isna().all(axis=None)
    assert matrix.tally(task.table) == {"missing": matrix.RANKS_ONLY}
    assert caplog.text.count(matrix.RANKS_ONLY) <= 1, "once a process"
    assert not {"match", "truncated"} & set(task.store[task.samples[0].key]), "nothing is stored"


def test_one_more_forward_a_batch_and_none_of_what_is_not_known(tmp_path: Path) -> None:
    samples = [
        replace(s, foil=f) for s, f in zip(planted(4), (None, "dog", "1 1", "2 2"), strict=True)
    ]
    scorer = Decider()
    task = decided(tmp_path, samples, HiResCAM(), scorer=scorer)
    own = [sample.text for sample in samples]
    assert scorer.asked == [[*own, "1 1", "2 2"]]
    assert task.table["foil_match"].notna().tolist() == [False, False, True, True]
    assert matrix.tally(task.table)["foil"]["undecided"] == 1, "a foil that the model cannot read"
    alone = decided(tmp_path / "b", samples[2:3], HiResCAM()).table
    for name in ("match", "foil_match"):
        assert alone[name][0] == pytest.approx(task.table[name][2], abs=1e-6), "batch mates"


def test_what_has_no_map_is_outside_and_never_badly_grounded(tmp_path: Path) -> None:
    samples = world()[:6]
    samples[1] = replace(samples[1], boxes=np.zeros((0, 4)))
    samples[2] = replace(samples[2], text="dog")
    metric = QGroundCAM(empty_map="worst")
    task = decided(tmp_path, samples, HiResCAM(), metric)
    assert task.table["cell"].isna().tolist() == [False, True, True, False, False, False]
    counts = matrix.tally(task.table)["matched"]
    assert (counts["correct_high"], counts["outside"], counts["undecided"]) == (4, 1, 0)
    assert task.scores()["matched_accuracy"]["n"] == 5, "decided, whatever the map"
    assert task.scores()["matched_correct_high"]["n"] == 4


def test_degenerate_maps_are_outside(tmp_path: Path) -> None:
    class Flat(HiResCAM):
        def forward(self, *arguments):  # type: ignore[no-untyped-def]
            return super().forward(*arguments) * 0

    metric = QGroundCAM(empty_map="worst")  # which gives them an IO_ratio of 0
    task = decided(tmp_path, world(), Flat(), metric)
    assert set(task.table["io_ratio"]) == {0.0}
    assert task.table["cell"].isna().all()
    assert matrix.tally(task.table)["matched"]["outside"] == N
    assert "matched_correct_low" not in task.scores()
    assert task.scores()["accuracy"]["n"] == 2 * N


def test_no_foils(tmp_path: Path) -> None:
    samples = [replace(sample, foil=None) for sample in planted(3)]
    task = decided(tmp_path, samples, Uniform())
    assert set(task.table["cell"]) == {"correct_low"}, "a box covers 1/16 of the image"
    found = matrix.tally(task.table)
    assert found["missing"] == matrix.NO_FOIL
    assert "foil" not in found
    assert "foil_accuracy" not in task.scores()
    assert task.scores()["accuracy"] == task.scores()["matched_accuracy"]


def test_a_cut_text_is_a_count_and_what_was_read_is_kept(tmp_path: Path) -> None:
    samples = planted(3)
    samples[0] = replace(samples[0], text=f"{samples[0].text} 7 7", foil="3 3 9")
    task = decided(tmp_path, samples, Center())
    assert task.table["truncated"].dropna().to_dict() == {0: samples[0].text[:3]}
    assert task.table["foil_truncated"].dropna().to_dict() == {0: "3 3"}
    assert run(tmp_path, samples).table["truncated"][0] == samples[0].text[:3], "from the store"


def test_the_matching_head_of_blip(tmp_path: Path) -> None:
    samples, scorer = planted(5, (1, 3)), DecidingBlip()
    table = decided(tmp_path, samples, Random(seed=0), scorer=scorer).table
    for i, sample in enumerate(samples):
        pixels = scorer.preprocess(load_image(sample.image))[0][None]
        texts = [sample.text, str(sample.foil)]
        alone = scorer.match(scorer.encode(pixels), texts, torch.tensor([0, 0])).tolist()
        assert table.loc[i, ["match", "foil_match"]].tolist() == pytest.approx(alone, abs=1e-6)
        assert abs(alone[0] - alone[1]) > 1e-5, "text and foil are told apart"


def test_shares_and_intervals_are_those_of_single_columns() -> None:
    rng = np.random.default_rng(0)
    n = 200
    rows = pandas.DataFrame({"match": rng.random(n), "foil_match": rng.random(n)})
    rows["image_id"] = [str(i // 3) for i in range(n)]
    rows.loc[rng.choice(n, 30, replace=False), "foil_match"] = np.nan
    io_ratio = np.where(rng.random(n) < 0.1, np.nan, rng.random(n))
    for text, (match, cell) in TEXTS.items():
        right = matrix.rightness(rows[match].to_numpy(), text == "matched", 0.5)
        rows[cell] = matrix.cells(right, io_ratio, 0.4)
    found = matrix.estimates(rows, 0.5)
    kept = rows[rows["foil_cell"].notna()]
    share = (kept["foil_cell"] == "wrong_low").to_numpy(dtype=float)
    assert found["foil_wrong_low"] == bootstrap_mean(share, kept["image_id"].tolist())
    by_hand = (rows["foil_match"] >= 0.5) & (io_ratio < 0.4)
    assert share.sum() == by_hand.sum()
    right = np.concatenate([rows["match"] >= 0.5, rows["foil_match"].dropna() < 0.5])
    assert found["accuracy"].value == pytest.approx(right.mean())
    assert found["accuracy"].n == len(right)


def test_other_scorers_are_asked_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    score = PatchScorer.score
    monkeypatch.setattr(
        PatchScorer, "score", lambda self, *rest: calls.append(1) or score(self, *rest)
    )
    run(tmp_path, planted(4), HiResCAM())
    assert len(calls) == 1, "a batch: the one that the map is drawn from"


def test_rows_of_processes_are_json(tmp_path: Path) -> None:
    task = decided(tmp_path, world()[:3], HiResCAM())
    assert json.loads(json.dumps(task.table.to_dict("records")))[0]["cell"] == "correct_high"


def options(folder: Path) -> None:
    """`model=decider`, and data sets in and out of distribution."""
    data = "# Data.\n_target_: tests.deciders.Planted\nimages: {}\ndim: {}\nsmall: {}\n"
    texts = {
        "model/decider": "# Decides.\n_target_: tests.deciders.Decider\n",
        "dataset/cells": data.format(30, 0.1, 0.2),
        "dataset/cells_ood": data.format(25, 0.4, 0.6),
    }
    for name, text in texts.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells of a model that decides and one of a classifier."""
    folder = tmp_path_factory.mktemp("swept")
    options(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cli.ENVIRONMENT, "PYTHONPATH", str(Path(__file__).parents[1]))
        cells = ("dataset=cells,cells_ood", "cam=hirescam,shuffled_text", "task.overlays=4")
        output = vlground("-m", "--config-dir=conf", "model=decider", *cells, cwd=folder)
        assert matrix.RANKS_ONLY not in output
        output = vlground("limit=3", cwd=folder)
        assert output.count(matrix.RANKS_ONLY) == 1
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not binary:
        pytest.skip("no browser: neither `chromium` on the path nor CHROMIUM=FILE is set")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def runs_of(folder: Path) -> dict[str, Any]:
    """cam dataset -> results."""
    found = cli.results(folder / "runs")
    return {f"{r['choices']['cam']} {r['choices']['dataset']}": r for r in found}


def test_results_have_the_matrix_and_say_why_not(swept: Path) -> None:
    found = runs_of(swept)
    assert found["gradcam photos"]["matrix"] == {"missing": matrix.RANKS_ONLY}
    result = found["hirescam cells"]
    assert result["matrix"]["missing"] == ""
    assert result["identity"]["metric"]["high_io_ratio"] == 0.5, "recorded"
    for text in TEXTS:
        counts = result["matrix"][text]
        assert sum(counts.values()) == result["counts"]["samples"]
        placed = sum(counts[cell] for cell in CELLS)
        for cell in CELLS:
            score = result["scores"][f"{text}_{cell}"]
            assert score["value"] == pytest.approx(counts[cell] / placed)
            assert score["n"] == placed
    assert result["counts"]["truncated"] > 0
    (path,) = swept.glob("runs/grounding/decider-hirescam-cells-*/rows.parquet")
    rows = pandas.read_parquet(path)
    assert rows["truncated"].notna().sum() == result["counts"]["truncated"]
    shuffled = found["shuffled_text cells"]["scores"]
    assert shuffled["accuracy"] == result["scores"]["accuracy"], "the same decisions"
    assert shuffled["foil_correct_high"] != result["scores"]["foil_correct_high"], "other maps"


def test_another_threshold_runs_no_model(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept / "conf", tmp_path / "conf")
    shutil.copytree(swept / "runs" / "evidence", tmp_path / "runs" / "evidence")
    before = {path: path.stat().st_size for path in tmp_path.rglob("*.segment")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cli.ENVIRONMENT, "PYTHONPATH", str(Path(__file__).parents[1]))
        cell = ("model=decider", "dataset=cells", "cam=hirescam", "logger=none")
        vlground("--config-dir=conf", *cell, "metric.high_io_ratio=0.01", cwd=tmp_path)
    (result,) = cli.results(tmp_path / "runs")
    assert result["matrix"]["matched"]["correct_low"] == 0
    assert {path: path.stat().st_size for path in tmp_path.rglob("*.segment")} == before


def test_wandb_has_the_matrix_as_plot_and_table(swept: Path) -> None:
    found = runs_of(swept)
    offline = [OfflineRun(path) for path in swept.rglob("offline-run-*") if path.is_dir()]
    assert len(offline) == len(found) == 5
    for run_ in offline:
        result = found[f"{run_.config['cam']} {run_.config['dataset']}"]
        if run_.config["model"] != "decider":
            assert run_.summary["matrix/missing"] == matrix.RANKS_ONLY
            assert not [key for key in run_.numbers if key.startswith("matrix/")]
            continue
        assert "matrix/missing" not in run_.summary
        assert run_.numbers["matrix/accuracy"] == result["scores"]["accuracy"]["value"]
        assert (
            run_.numbers["matrix/count/foil_wrong_high"] == result["matrix"]["foil"]["wrong_high"]
        )
        assert "grounding/accuracy" not in run_.numbers
        for text in TEXTS:
            table = run_.table(f"matrix/{text}_table")
            assert table.column("samples") == [result["matrix"][text][cell] for cell in CELLS]
            assert [f"{line[0]}_{line[1]}" for line in table.data] == list(CELLS)
            assert run_.charts[f"matrix/{text}"] == "wandb/confusion_matrix/v1"


def test_a_push_sends_the_matrix(swept: Path, tmp_path: Path) -> None:
    (path,) = swept.glob("runs/grounding/decider-hirescam-cells-*")
    shutil.copytree(path, tmp_path / "runs" / "grounding" / path.name, symlinks=True)
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.delitem(cli.ENVIRONMENT, "WANDB_MODE", raising=False)
        patch.setitem(cli.ENVIRONMENT, "WANDB_BASE_URL", server.url)
        patch.setitem(cli.ENVIRONMENT, "WANDB_API_KEY", KEY)
        assert command("vlground.push", cwd=tmp_path).startswith("created")
    (bucket,) = server.buckets.values()
    result = runs_of(swept)["hirescam cells"]
    assert bucket.summary["matrix/foil_accuracy"] == result["scores"]["foil_accuracy"]["value"]
    assert any("matched_table" in name for name in server.files)


def test_the_page_shows_the_matrix(swept: Path, browser: Browser) -> None:
    page = build.write_page(swept / "runs").path
    result = runs_of(swept)["hirescam cells"]
    counts, scores = result["matrix"]["foil"], result["scores"]
    browser.open(page, "matrix")
    assert browser.do("return document.querySelectorAll('.matrix-list > section').length") == 4
    browser.do("document.querySelector('[data-path*=hirescam-cells-] a').click()")
    cell = "document.querySelector('#matrix [data-text=foil] [data-cell=wrong_high] button')"
    shown = browser.do(f"return {cell}.innerText")
    share = scores["foil_wrong_high"]["value"]
    assert shown.split("\n")[0] == f"{100 * share:.{1 if share < 0.1 else 0}f} %"
    placed = sum(counts[name] for name in CELLS)
    assert f"{counts['wrong_high']} of {placed}" in shown
    browser.do(f"{cell}.click()")
    assert (
        browser.do("return document.querySelectorAll('.grid .card').length")
        == (counts["wrong_high"])
    )
    browser.do("document.querySelector('.grid .card').click()")
    text = browser.do("return document.getElementById('sample').innerText")
    assert "it fits (match 0." in text
    assert "— wrong, map high" in text
    noise = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert not [event for event in browser.events if event["method"] in noise]


def test_the_page_shows_what_was_cut(swept: Path, browser: Browser) -> None:
    browser.open(build.write_page(swept / "runs").path, "samples")
    browser.do(
        "const s = [...document.querySelectorAll('select')]"
        ".find(s => [...s.options].some(o => o.value === 'cut'));"
        "s.value = 'cut'; s.dispatchEvent(new Event('change'));"
        "document.querySelectorAll('input[type=checkbox]')[1].click()"
    )
    count = browser.do("return document.querySelectorAll('.grid .card').length")
    assert count == browser.do("return document.querySelectorAll('.grid .card .tag').length") > 0
    browser.do("document.querySelector('.grid .card').click()")
    text = browser.do("return document.getElementById('sample').innerText")
    title = browser.do("return document.getElementById('sample-title').textContent")
    assert title.endswith(" 1")
    assert f"it read: “{title[:-2]}”" in text


def test_the_page_and_the_folder_have_figure_3(swept: Path, browser: Browser) -> None:
    command("vlground.report", "runs", "--figures", cwd=swept)
    names = {path.name for path in (swept / "runs" / "figures").iterdir()}
    assert names == {
        "figure_3.png",
        "histograms_cells.png",
        "histograms_cells_ood.png",
        "histograms_photos.png",
    }
    browser.open(swept / "runs" / "report.html", "figure3")
    drawn = "return document.querySelector('img.figure').naturalHeight"
    assert browser.do(drawn) == Image.open(swept / "runs" / "figures" / "figure_3.png").height


def test_a_page_of_classifiers_has_neither_view(
    swept: Path, tmp_path: Path, browser: Browser
) -> None:
    (path,) = swept.glob("runs/grounding/*-photos-*")
    shutil.copytree(path, tmp_path / "runs" / "grounding" / path.name, symlinks=True)
    browser.open(build.write_page(tmp_path / "runs").path)
    links = "return [...document.querySelectorAll('nav a')].map(a => a.dataset.view).join(' ')"
    assert browser.do(links) == "runs samples compare claims notes"
    browser.do("document.querySelector('tr[data-path] a').click()")
    text = browser.do("return document.querySelector('main').innerText")
    assert matrix.RANKS_ONLY in text
