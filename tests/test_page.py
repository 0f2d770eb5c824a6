"""The report page: what it holds, and how it behaves in a real browser."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from tests.browser import Browser
from tests.cli import command, vlground
from tests.explanations import make_explanation
from tests.worlds import planted
from vlground import plots
from vlground.geometry import Frame
from vlground.identity import digest
from vlground.metrics.grounding import QGroundCAM
from vlground.metrics.statistics import bootstrap_means, paired_difference
from vlground.page import build, rows
from vlground.page.pictures import Album, fill, with_map
from vlground.page.reading import read
from vlground.page.strips import panels
from vlground.report import collect
from vlground.tasks.scoring import score_maps

SCORES = ("pointing_game", "pg_uncertainty", "io_ratio", "iou_soft", "wdp_binary", "io_lift")
SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>'


def make_run(runs: Path, model: str, cam: str, count: int = 40, pictures: int = 0, **more: Any):
    """A run directory as `Cell` writes it, with random scores of two samples an image."""
    seed = int(digest([model, cam, more.get("tie")]), 16) % 2**32
    rng = np.random.default_rng(seed)
    ids = [f"{i // 2}/{IMAGE if i == 3 else i}" for i in range(count)]
    table = {"id": ids, "image_id": [str(i // 2) for i in range(count)]}
    table["text"] = [SCRIPT if i == 2 else f"thing {i}" for i in range(count)]
    columns = {name: rng.random(count).round(4) for name in SCORES}
    columns["pointing_game"] = rng.integers(0, 2, count).astype(float)
    columns["io_ratio"][0] = np.nan
    flags = ["constant", *[""] * (count - 1)]
    estimates = bootstrap_means(columns, table["image_id"], n_resamples=200)
    choices = {"dataset": "drawn", "model": model, "cam": cam, "metric": "q_groundcam"}
    results = {
        "task": "grounding",
        "choices": {**choices, "mask": "none"},
        "fingerprint": digest([model, cam, more]),
        "identity": {"metric": {"tie": more.get("tie", "expected")}, "data": "d"},
        "scores": {name: vars(estimate) for name, estimate in estimates.items()},
        "counts": {
            "samples": count,
            "scored": count - 1,
            "flagged": {"constant": 1},
            "skipped": {},
        },
    }
    folder = runs / "grounding" / f"{digest([model, cam, more])}"
    (folder / "figures").mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results))
    pandas.DataFrame({**table, **columns, "flag": flags}).to_parquet(folder / "rows.parquet")
    for name in ids[:pictures]:
        noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((320, 240)).save(
            folder / "figures" / f"{digest(name)}.jpg", quality=85
        )
    return folder


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not binary:
        pytest.skip("no browser: neither `chromium` on the path nor CHROMIUM=FILE is set")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs with text that tries to be markup, and three that are not whole."""
    runs = tmp_path_factory.mktemp("small") / "runs"
    make_run(runs, "one", "gradcam", pictures=6)
    make_run(runs, "two", "gradcam", pictures=6)
    make_run(runs, "two", "gradcam", tie="any", count=30)
    make_run(runs, "two", "uniform", pictures=6)
    make_run(runs, SCRIPT, IMAGE, count=44, pictures=6)
    for name, file, text in (
        ("failed", "error.txt", f"Traceback\n  …\nValueError: {SCRIPT}"),
        ("torn", "results.json", '{"choices": {'),
        ("killed", "run.log", ""),
    ):
        (runs / "grounding" / name).mkdir()
        (runs / "grounding" / name / file).write_text(text)
    half = make_run(runs, "half", "gradcam")
    (half / "rows.parquet").write_bytes(b"PAR1 and no more")
    return build.write_page(runs).path


def test_what_is_not_whole_is_listed(small: Path) -> None:
    data = data_of(small)
    assert {(t["path"], t["kind"]) for t in data["troubles"]} == {
        ("grounding/failed", "failed"),
        ("grounding/torn", "broken"),
        ("grounding/killed", "unfinished"),
    }
    (half,) = [run for run in data["runs"] if run["choices"]["model"] == "half"]
    assert half["rows"] is None
    assert "rows.parquet" in half["problem"]
    assert len(collect(small.parent)) == len(data["runs"]) == 6


def test_one_file_without_network(small: Path, browser: Browser) -> None:
    browser.open(small)
    for view in ("samples", "compare", "notes", "runs"):
        browser.do(f"location.hash = '{view}'")
        assert browser.do("return document.querySelector('h1').textContent").lower() == view
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    local = ("about:blank", f"file://{small}", "data:image/")
    assert all(url.startswith(local) for url in requests), requests
    noise = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert not [event for event in browser.events if event["method"] in noise]


def test_data_never_become_markup(small: Path, browser: Browser) -> None:
    browser.open(small)
    for view in ("runs", "samples", "compare", "notes"):
        browser.do(f"location.hash = '{view}'")
        assert (
            browser.do("return document.querySelectorAll('main script, main img[src=x]').length")
            == 0
        )
    browser.do("location.hash = 'runs'")
    text = browser.do("return document.querySelector('main').innerText")
    assert text.count(SCRIPT) >= 2, "a model's name and a failed run's error, as they are"
    browser.do("document.querySelector('tr[data-path] a[href]').click()")
    browser.do("location.hash = 'samples'")
    browser.do("[...document.querySelectorAll('.card')][2].click()")
    assert browser.do("return document.querySelector('#sample h2').textContent") == SCRIPT
    assert SCRIPT not in re.sub(r"<script.*", "", small.read_text("utf-8").split("<main")[1])


def test_the_table_sorts(small: Path, browser: Browser) -> None:
    browser.open(small)
    values = "return [...document.querySelectorAll('tbody tr')].map(r => r.dataset.path)"
    head = "document.querySelector('[data-sort=\"score io_ratio\"]')"
    by_path = {run["path"]: run["scores"]["io_ratio"]["value"] for run in data_of(small)["runs"]}
    before = browser.do(values)
    browser.do(f"{head}.click()")
    assert browser.do(values) == sorted(before, key=lambda path: -by_path[path])
    assert browser.do(f"return {head}.parentElement.ariaSort") == "descending"
    browser.do(f"{head}.click()")
    assert browser.do(values) == sorted(before, key=lambda path: by_path[path])
    browser.do(f"{head}.click()")
    assert browser.do(values) == before, "the third click gives the first order back"


def test_the_table_filters(small: Path, browser: Browser) -> None:
    browser.open(small)
    count = "return document.querySelectorAll('tbody tr').length"
    columns = "return document.querySelectorAll('thead th').length"
    assert browser.do(count) == 6
    for text, left in (("gradcam two", 2), ("tie=any", 1), ("nothing such", 0), ("", 6)):
        browser.do(
            f"const f = document.querySelector('input[type=search]'); f.value = '{text}';"
            "f.dispatchEvent(new Event('input'))"
        )
        assert browser.do(count) == left, text
    browser.do(
        "const s = [...document.querySelectorAll('select')]"
        ".find(s => [...s.options].some(o => o.value === 'two'));"
        "s.value = 'two'; s.dispatchEvent(new Event('change'))"
    )
    assert browser.do(count) == 3
    few = browser.do(columns)
    browser.do("document.querySelector('[data-all]').click()")
    assert browser.do(columns) == few + 1, "io_lift is not among the recommended"


def test_compare_agrees_with_python(small: Path, browser: Browser) -> None:
    whole, _ = read(small.parent)
    table = {run.results["choices"]["model"]: run for run in whole if run.rows is not None}
    first, second = table["one"], table[SCRIPT]
    assert first.rows is not None
    assert second.rows is not None
    names = "&".join(run.path.replace("/", "%2F") for run in (first, second))
    browser.open(small, f"compare={names}")
    assert "40 samples in common" in browser.do("return document.querySelector('main').innerText")
    image_of = dict(zip(first.rows["id"], first.rows["image_id"], strict=True))
    for score in SCORES:
        columns = [dict(zip(r.rows["id"], r.rows[score], strict=True)) for r in (first, second)]
        python = paired_difference(*columns, image_of).difference
        row = f"document.querySelector('[data-score={score}]')"
        shown = browser.do(
            "return ['[data-difference]', '[data-interval]'].map("
            f"name => {row}.querySelector(name).innerText)"
        )
        value, low, high = map(float, re.findall(r"-?\d\.\d+", " ".join(shown).replace("−", "-")))
        assert python.low is not None
        assert python.high is not None
        assert value == pytest.approx(python.value, abs=1e-4), score
        # Ends of 2,000 resamples scatter by about 3 % of the interval's width.
        noise = 0.1 * (python.high - python.low)
        assert (low, high) == pytest.approx((python.low, python.high), abs=noise), score
    assert browser.do("return document.querySelectorAll('.pair').length") > 0
    browser.do("document.querySelector('.pair .card').click()")
    assert browser.do("return document.getElementById('sample').open")


def test_grounding_and_explanations_on_one_page(tmp_path: Path, browser: Browser) -> None:
    make_run(tmp_path, "one", "gradcam", pictures=6)
    make_run(tmp_path, "two", "gradcam", pictures=6)
    make_explanation(tmp_path)
    path = build.write_page(tmp_path).path
    browser.open(path)
    judged, *maps = sorted(run["path"] for run in data_of(path)["runs"])
    links = ["runs", "matrix", "notes", *(f"compare={one}" for one in (judged, maps[0]))]
    links += [f"{view}={one}" for view in ("run", "samples") for one in (judged, maps[0])]
    for link in links:
        browser.do(f"location.hash = '{link.replace('/', '%2F')}'")
        assert browser.do("return document.querySelector('main').innerText.length") > 99, link
    assert not [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
    browser.do(f"location.hash = 'compare={judged.replace('/', '%2F')}'")
    text = browser.do("return document.querySelector('main').innerText")
    assert "No other run" in text, "what a judge says and what boxes say are not subtracted"
    browser.do(f"location.hash = 'run={maps[0].replace('/', '%2F')}'")
    assert "judge" not in browser.do("return document.querySelector('main').innerText").lower()


def test_a_hundred_runs_stay_under_10_mb(tmp_path: Path, browser: Browser) -> None:
    runs = tmp_path / "runs"
    for i in range(100):
        make_run(runs, f"model {i}", "gradcam", count=300, pictures=12)
    page = build.write_page(runs)
    data = data_of(page.path)
    assert 8e6 < page.size == page.path.stat().st_size < 10e6
    assert "as many as fit" in data["overlayNote"]
    shown = {tuple(sorted(name for name, _ in run["overlays"])) for run in data["runs"]}
    assert len(shown) == 1, "the same samples in every run"
    assert len(shown.pop()) >= 2
    browser.open(page.path)
    assert browser.do("return document.querySelectorAll('tbody tr').length") == 100


def test_rows_over_the_budget_are_the_same_in_every_run(tmp_path: Path) -> None:
    make_run(tmp_path, "one", "gradcam")
    make_run(tmp_path, "two", "gradcam", count=30)
    whole, _ = read(tmp_path)
    assert rows.table(whole, 10**6).runs[0]["rows"] in (30, 40)  # type: ignore[index]
    held = rows.table(whole, 3000)
    ids = [{held.samples[place][0] for place in places} for places in held.sets]
    assert all(0 < len(found) < 30 for found in ids)
    chosen = sorted((run["rows"] for run in held.runs if run), reverse=True)
    assert chosen == [40, 30], "and it is said how many there are"


def test_pictures_enter_rank_by_rank_and_once(tmp_path: Path) -> None:
    make_run(tmp_path, "one", "gradcam", pictures=40)
    make_run(tmp_path, "two", "gradcam", pictures=40)
    whole, _ = read(tmp_path)
    picture = next(tmp_path.rglob("*.jpg")).read_bytes()
    album = Album()
    shown, everything = fill(album, whole, 10**6, lambda run, name: picture, with_map)
    assert everything
    assert len(album.pictures) == 1
    assert [len(found) for found in shown] == [40, 40]
    shown, everything = fill(Album(), whole, 100, lambda run, name: picture, with_map)
    assert not everything
    assert shown == [[], []]


@pytest.mark.parametrize(
    "metric",
    [
        QGroundCAM(),
        QGroundCAM(resolution="input", wdp_distance="euclidean", resize="bicubic"),
        QGroundCAM(resize_order="normalise_first", normalise="max", box_merge="any"),
        QGroundCAM(resolution="native", wdp_distance="chebyshev", threshold_strict=True),
    ],
)
def test_figure_2_shows_what_is_scored(metric: QGroundCAM) -> None:
    (sample,) = planted(1)
    frame = Frame.letterbox(64, 64, 48)
    rng = np.random.default_rng(0)
    grid = rng.random((7, 7), dtype=np.float32)
    boxes = np.concatenate([sample.boxes, [[40.2, 3.0, 55.0, 17.7]]])
    found = panels({"map": grid, "frame": frame.to_list()}, boxes, metric)
    assert found is not None
    import torch

    scores = score_maps(torch.from_numpy(grid)[None], frame, [boxes], metric)
    for kind, activation in (("soft", found.soft), ("binary", found.binary)):
        inside, penalty = (activation * found.mask).sum(), (activation * found.distance).sum()
        assert penalty / (penalty + inside) == pytest.approx(scores[f"wdp_{kind}"][0], abs=1e-5)
    assert found.mask.mean() == scores["area"][0]
    assert len(found.peaks) == scores["n_peaks"][0]
    strip = plots.figure_2(Image.fromarray(sample.image), boxes, found)  # type: ignore[arg-type]
    assert strip.width == strip.height * len(plots.PANELS) * (1 + 2 / plots.PANEL_GUTTER)
    assert panels({"skipped": "unreadable"}, boxes, metric) is None


def test_strips_of_a_real_run(tmp_path: Path) -> None:
    vlground("limit=3", "cam=center", "logger=none", cwd=tmp_path)
    runs = tmp_path / "runs"
    output = command("vlground.report", "runs", cwd=tmp_path)
    assert str(Path("runs", "report.html")) in output
    data = data_of(runs / "report.html")
    assert len(data["runs"][0]["strips"]) == len(data["runs"][0]["overlays"]) == 3
    assert {data["pictures"][place][0] for _, place in data["runs"][0]["strips"]} == {"webp"}
    assert str(tmp_path) not in (runs / "report.html").read_text("utf-8")
    (config,) = runs.glob("*/*/config.yaml")
    text = config.read_text()
    config.write_text(text.replace("vlground.data.photos.Photos", "os.system"))
    assert (
        "not one of vlground's own" in data_of(build.write_page(runs).path)["runs"][0]["noStrips"]
    )
    config.write_text(text)
    shutil.rmtree(runs / "evidence")
    (run,) = data_of(build.write_page(runs).path)["runs"]
    assert not run["strips"]
    assert "no longer in runs/evidence" in run["noStrips"]
    (runs / "report.html").unlink()
    command("vlground.report", "runs", "--no-page", cwd=tmp_path)
    assert not (runs / "report.html").exists()


def test_json_cannot_end_its_script() -> None:
    text = build.embedded({"text": SCRIPT + "<!--\u2028", "value": float("nan")})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"text": SCRIPT + "<!--\u2028", "value": None}
