"""The page's ablations, rewards, judge beside people, and claims, in a real browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from tests.browser import Browser
from tests.explanations import make_explanation
from tests.test_page import data_of, make_run
from vlground.claim_index import index_file, read_claims
from vlground.page import build
from vlground.page.ablation import settings
from vlground.page.reading import read, troubles


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not binary:
        pytest.skip("no browser: neither `chromium` on the path nor CHROMIUM=FILE is set")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def errors(browser: Browser) -> list[Any]:
    return [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]


def result(cam: str, *overrides: str, task: str = "grounding", **metric: Any) -> dict[str, Any]:
    choices = {"task": task, "model": "m", "cam": cam, "metric": "q_groundcam"}
    return {"choices": choices, "overrides": list(overrides), "identity": {"metric": metric}}


def test_settings_are_what_runs_of_a_task_differ_in() -> None:
    found = settings(
        [
            result("a", "cam=a", "metric.tie=any", "runs=x", tie="any"),
            result("b", "++task.arm=all", "~reward.miss=null", tie="expected"),
            result("b", "seed=1", "task.arm=all", tie="expected"),
            result("c", "seed=1", task="other", tie="any"),
        ]
    )
    assert found == [
        {"cam": "a", "metric.tie": "any"},
        {"cam": "b", "metric.tie": "expected", "task.arm": "all"},
        {"cam": "b", "metric.tie": "expected", "task.arm": "all", "seed": "1"},
        {},
    ], "the only run of its task differs from nobody"


def make_candidates(runs: Path) -> None:
    """A run of task=rejection_sampling: five candidates of twenty images."""
    folder = make_run(runs, "captioner", "none", count=100)
    rng = np.random.default_rng(0)
    rows = pandas.read_parquet(folder / "rows.parquet")[["id", "image_id", "text", "flag"]]
    rows["penalty_sentences"] = rng.integers(0, 4, len(rows)).astype(float)
    rows["penalty_nouns"] = rng.integers(0, 3, len(rows)).astype(float)
    rows["penalty"] = rows["penalty_sentences"] + rows["penalty_nouns"]
    rows["winner"] = [place % 5 == 0 for place in range(len(rows))]
    rows.to_parquet(folder / "rows.parquet")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models × two settings, one of them with a further CAM; candidates; a judge."""
    runs = tmp_path_factory.mktemp("views") / "runs"
    for model in ("one", "two"):
        for tie in ("any", "expected"):
            make_run(runs, model, "gradcam", tie=tie)
    make_run(runs, "one", "layercam", tie="any", count=10)
    make_candidates(runs)
    folder = make_explanation(runs)
    rows = pandas.read_parquet(folder / "rows.parquet").dropna(subset="score")
    scores = [
        f"{name},Ann,{score:.0f}" for name, score in zip(rows["id"], rows["score"], strict=True)
    ]
    people = runs / "people.csv"
    people.write_text("id,annotator,score\n" + "\n".join(scores[:30]) + "\n")
    return build.write_page(runs, human=[people]).path


def choose(label: str, value: str) -> str:
    return (
        "{ const s = [...document.querySelectorAll('label.field')]"
        f".find(l => l.firstChild.textContent === '{label}').querySelector('select');"
        f"s.value = '{value}'; s.dispatchEvent(new Event('change')); }}"
    )


def test_runs_that_differ_in_one_choice_form_a_line(page: Path, browser: Browser) -> None:
    browser.open(page, "ablation")
    browser.do(choose("Over", "metric.tie") + choose("Score", "io_ratio"))
    lines = "return document.querySelectorAll('.series').length"
    assert browser.do(lines) == 2, "one a model; a single layercam is no line"
    heights = browser.do(
        "return [...document.querySelectorAll('.series')].map(line =>"
        "[...line.querySelectorAll('circle')]"
        ".map(c => [c.textContent, Number(c.getAttribute('cy'))]))"
    )
    by_name = {
        (run["choices"]["model"], run["settings"]["metric.tie"]): run["scores"]["io_ratio"]
        for run in data_of(page)["runs"]
        if run["choices"]["cam"] == "gradcam" and not run["explanation"]
    }
    for line, model in zip(heights, ("one", "two"), strict=True):
        assert [text.split(" · ")[1].split(":")[0] for text, _ in line] == ["any", "expected"]
        for (text, _), tie in zip(line, ("any", "expected"), strict=True):
            assert f"{by_name[model, tie]['value']:.3f}" in text
    # Higher on the page is larger, on one scale for both lines.
    placed = [
        (by_name[m, t]["value"], line[i][1])
        for m, line in zip(("one", "two"), heights, strict=True)
        for i, t in enumerate(("any", "expected"))
    ]
    values, below = np.array(sorted(placed)).T
    assert np.corrcoef(values, below)[0, 1] == pytest.approx(-1, abs=1e-6)
    bars = browser.do("return document.querySelectorAll('.whisk').length")
    assert bars == sum(score["low"] is not None for score in by_name.values()) == 4
    browser.do(choose("Over", "cam"))
    assert browser.do(lines) == 1, "of model one, tie=any"
    assert browser.do("return document.querySelectorAll('.whisk').length") == 1, "five images"
    browser.do(choose("Over", "metric.tie") + choose("Panels", "model"))
    assert browser.do("return document.querySelectorAll('.panels figure').length") == 2
    browser.do("document.querySelector('.series circle').dispatchEvent(new Event('click'))")
    assert browser.do("return location.hash").startswith("#run=")
    assert not errors(browser)


def test_penalties_of_all_candidates_and_of_winners(page: Path, browser: Browser) -> None:
    (run,) = [r for r in data_of(page)["runs"] if r["choices"]["model"] == "captioner"]
    browser.open(page, f"run={run['path'].replace('/', '%2F')}")
    shown = "return [...document.querySelectorAll('#rewards figure')].map(f => f.dataset.penalty)"
    assert browser.do(shown) == ["penalty", "penalty_sentences", "penalty_nouns"]
    assert browser.do("return document.querySelectorAll('#rewards .outline').length") == 3
    rows = pandas.read_parquet(page.parent / run["path"] / "rows.parquet")
    whole, winners = rows["penalty_nouns"], rows["penalty_nouns"][rows["winner"]]
    most = max((part == value).mean() for part in (whole, winners) for value in range(3))
    text = browser.do(
        "return document.querySelector('[data-penalty=penalty_nouns] .tick').textContent"
    )
    assert text == f"largest bin {100 * most:.0f} %"
    assert not errors(browser)


def test_judge_and_people_are_drawn_where_both_have_scored(page: Path, browser: Browser) -> None:
    browser.open(page, "alignment")
    assert browser.do("return document.querySelectorAll('.panels .point').length") == 30
    text = browser.do("return document.querySelector('.panels figcaption').innerText")
    assert "30 samples" in text
    assert "r = " in text
    judged = [r for r in data_of(page)["runs"] if r["explanation"]]
    rows = pandas.read_parquet(page.parent / judged[0]["path"] / "rows.parquet").dropna(
        subset="score"
    )
    expected = np.corrcoef(rows["score"][:30], rows["score"][:30].round())[0, 1]
    assert f"r = {expected:.2f}" in text
    assert not errors(browser)


def test_every_claim_is_there_with_the_runs_of_its_experiments(
    tmp_path: Path, browser: Browser
) -> None:
    folder = make_run(tmp_path, "one", "gradcam")
    (folder / "experiments.txt").write_text("q_groundcam_table1\n")
    path = build.write_page(tmp_path).path
    browser.open(path, "claims")
    file = index_file()
    assert file is not None
    claims = read_claims(file)
    rows = "return document.querySelectorAll('.claims tbody tr').length"
    assert browser.do(rows) == len(claims)
    browser.do("document.querySelector('.check input').click()")
    mine = sum("q_groundcam_table1" in claim.experiments for claim in claims)
    assert 0 < browser.do(rows) == mine < len(claims)
    links = "return [...document.querySelectorAll('nav a')].map(a => a.dataset.view)"
    assert browser.do(links) == ["runs", "samples", "compare", "claims", "notes"], "what there is"
    assert not errors(browser)


def test_troubles_are_told_without_reading_rows(tmp_path: Path) -> None:
    make_run(tmp_path, "one", "gradcam")
    for name, file, text in (
        ("failed", "error.txt", "ValueError: x"),
        ("torn", "results.json", "{"),
    ):
        (tmp_path / "grounding" / name).mkdir()
        (tmp_path / "grounding" / name / file).write_text(text)
    assert troubles(tmp_path) == read(tmp_path)[1]
    assert {one.kind for one in troubles(tmp_path)} == {"failed", "broken"}
