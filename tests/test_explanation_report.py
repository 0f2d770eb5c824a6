"""Explanation runs in the tables of `vlground-report` and on its page."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.browser import Browser
from tests.explanations import CLASSES, EVIL, FILLING, GALLERY, make_explanation
from vlground.latex import block_table
from vlground.metrics.judge_matrix import READINGS
from vlground.page import build, pictures, rows
from vlground.page.explained import gallery
from vlground.page.options import differing
from vlground.page.reading import read
from vlground.report import collect, main
from vlground.reporting.block import Block
from vlground.reporting.explanation import explanation_blocks
from vlground.reporting.printing import latex, markdown, show
from vlground.reporting.tables import tables

GROUNDING: Any = {
    "task": "grounding",
    "choices": {"dataset": "drawn", "model": "clip", "cam": "gradcam"},
    "scores": {"io_ratio": {"value": 0.5, "low": None, "high": None, "n": 9}},
    "counts": {
        **{"samples": 9, "scored": 9, "skipped": {}, "flagged": {}},
        "annotations_left_out": {},
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that is sound, one that is not, one that changed and was not tested."""
    folder = tmp_path_factory.mktemp("explained") / "runs"
    make_explanation(folder, beta=0.4)
    make_explanation(folder, sound=False)
    make_explanation(folder, model="other", answers=("judge-1", EVIL), sound=None)
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> Path:
    return build.write_page(runs, [Block("extra <b>", ["who", "r"], [[EVIL, "0.5\n0.4–0.6"]])]).path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not binary:
        pytest.skip("no browser: neither `chromium` on the path nor CHROMIUM=FILE is set")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def named(runs: Path, **wanted: Any) -> dict[str, Any]:
    """The results of one run, by its verdict or model."""
    found = [
        run
        for run in collect(runs)
        if wanted.get("verdict") in (None, run["explanation"]["sanity"]["verdict"])
        and wanted.get("model") in (None, run["choices"]["model"])
    ]
    assert len(found) == 1
    return dict(found[0])


def test_the_table_says_what_tells_runs_apart(runs: Path) -> None:
    (block,) = explanation_blocks(collect(runs))
    assert list(block.heads[: block.words]) == ["model", "cam", "mask", "judge"]
    assert list(block.heads[block.words :]) == [
        *("n", "accuracy ↑", "correct high", "correct low", "wrong high", "wrong low"),
        "judge score ↑",
    ]
    assert [row[:4] for row in block.rows] == [
        ["mini", "gradcam", "sigmoid beta=0.4", "openai_compatible"],
        ["mini", "gradcam", "sigmoid beta=0.6", "openai_compatible (unsound)"],
        ["other", "gradcam", "sigmoid beta=0.6", "openai_compatible (undecided)"],
    ]
    scores = named(runs, verdict="sound")["scores"]
    low = scores["correct_low"]
    assert block.rows[0][7] == f"{low['value']:.3f}\n{low['low']:.2f}–{low['high']:.2f}"
    assert block.rows[0][4] == "54", "what the judge has scored, not what was asked"


def test_a_judge_that_is_not_sound_is_named_before_anything_else(runs: Path) -> None:
    (block,) = explanation_blocks(collect(runs))
    assert block.notes[0] == "judge unsound: not shown that own > black (mini·sigmoid beta=0.6)"
    assert block.notes[1].startswith("judge undecided: not run: own > random, own > black")
    assert block.notes[2].startswith("judge sound")
    (other,) = explanation_blocks([named(runs, verdict="sound")])
    assert other.notes[0] == "judge sound: own mask above every control (all)"
    untested = named(runs, verdict="sound")
    untested["explanation"] = {}
    (block,) = explanation_blocks([untested])
    assert block.notes[0] == "judge not tested by controls (all)"
    assert block.rows[0][block.heads.index("judge")] == "openai_compatible (not tested)"


def test_the_notes_tell_what_a_reader_needs(runs: Path) -> None:
    (block,) = explanation_blocks(collect(runs))
    notes = "\n".join(block.notes)
    assert "high: the judge's score is at least 2.5 of 5" in notes
    for name, reading in READINGS.items():
        assert f"{name.replace('_', ' ')}: {reading}" in notes
    assert "6 of 60: constant (2); error: 429 (1); error: time-out (1); refusal: policy" in notes
    assert "in no cell: 1 of 60" in notes
    assert "the model behind judge openai_compatible changed" in notes
    assert "asked: 180 calls, 12 answers from the cache, 36,000 tokens in, 2,700 out" in notes
    assert "cost 0.75" in notes
    (one,) = explanation_blocks([named(runs, verdict="sound")])
    assert "answers of judge openai_compatible are from judge-1 (54)" in one.notes
    assert not [note for note in one.notes if "changed" in note]


def test_a_judge_that_nobody_asked_costs_nothing(runs: Path) -> None:
    run = named(runs, verdict="sound")
    run["explanation"]["usage"] |= {"calls": 0, "cached": 0, "models": {}, "cost": None}
    (block,) = explanation_blocks([run])
    assert not [note for note in block.notes if "asked" in note or "answers of" in note]
    run["explanation"]["usage"]["calls"] = 3
    (block,) = explanation_blocks([run])
    assert "cost not known" in "\n".join(block.notes)


def test_thresholds_that_differ_are_told_of_each(runs: Path) -> None:
    both = [named(runs, verdict="sound"), named(runs, model="other")]
    both[1]["identity"]["metric"]["threshold"] = 3
    notes = explanation_blocks(both)[0].notes
    high = [note for note in notes if "at least" in note]
    assert len(high) == 2
    assert high[1].startswith("high, other·sigmoid beta=0.6: ")


def test_judges_that_differ_in_an_option_are_told_apart(runs: Path) -> None:
    both = [named(runs, verdict="sound"), named(runs, verdict="unsound")]
    both[1]["identity"]["judge"]["model"] = "gemini"
    assert [one.get("judge.model") for one in differing(both)] == ["gpt", "gemini"]
    judges = [row[3] for row in explanation_blocks(both)[0].rows]
    assert judges == ["openai_compatible model=gpt", "openai_compatible model=gemini (unsound)"]
    notes = "\n".join(explanation_blocks(both)[0].notes)
    assert "changed" not in notes, "two judges are not one that changed"


def test_every_format_has_the_table_beside_those_of_grounding(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [GROUNDING, *collect(runs)]
    assert [runs for _, runs, _ in tables(results)] == [[GROUNDING]], "accuracies are two things"
    show(results)
    for text in (capsys.readouterr().out, markdown(results), latex(results)):
        assert text.index("IO") < text.index("prediction × judge")
        assert "judge unsound: not shown that own > black" in " ".join(text.split())
        assert "(unsound)" in text
    only = markdown(collect(runs))
    assert "IO_ratio" not in only
    assert "decision" not in only


def test_what_others_say_is_not_markup_in_any_format(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = r"[bold]a|b[/bold]" + "\n" + r"\input{x} ![p](http://x) <img src=x>"
    block = Block("extra", ["data set", "r"], [[evil, "1"]], [evil])
    show([], extra=[block])
    assert capsys.readouterr().out.count("[bold]a|b[/bold]") == 2, "the cell and the note"
    text = markdown([], extra=[block])
    assert r"\[bold]a\|b\[/bold] \\input{x} !\[p](http://x) &lt;img src=x>" in text
    lines = latex([], extra=[block]).splitlines()
    assert r"\input" not in "".join(line for line in lines if not line.startswith("%"))


def test_a_block_has_a_rule_where_a_data_set_begins() -> None:
    block = Block("c", ["data set", "m", "r"], [[d, "m", "1\n0–2"] for d in "aabb"], words=2)
    assert block.rules == [2]
    text = block_table(block)
    assert text.count(r"\midrule") == 2
    assert r"a & m & 1 0--2 \\" in text
    assert "{llr}" in text


def test_a_table_wider_than_the_console_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [f"the long name {i} of something" for i in range(9)]
    show([], extra=[Block("wide", ["w"] * 9 + ["r"], [[*cells, "0.125\n0.1–0.2"]], words=9)])
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in (*cells, "0.125", "0.1–0.2"))


def test_people_are_held_against_judges(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    people = tmp_path / "people.csv"
    scores = [
        f"drawn/{i:03},{who},{(i * 7 + k) % 6}" for i in range(40) for k, who in enumerate("abc")
    ]
    people.write_text("\n".join(["id,annotator,score", *scores]))
    arguments = ["vlground-report", str(runs), "--format=markdown", "--no-page"]
    arguments += ["--human", str(people), "model=other"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    text = capsys.readouterr().out
    assert text.index("prediction × judge") < text.index("agreement with people")
    people.unlink()
    with pytest.raises(SystemExit, match=r"people\.csv") as ended:
        main()
    assert "\n" not in str(ended.value), "one line, and no traceback"


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def run_of(data: dict[str, Any], verdict: str) -> dict[str, Any]:
    runs = [r for r in data["runs"] if r["explanation"]["sanity"]["verdict"] == verdict]
    return dict(runs[0])


def link(view: str, run: dict[str, Any]) -> str:
    return f"{view}={run['path'].replace('/', '%2F')}"


def test_the_page_holds_words_gallery_and_classes(page: Path, runs: Path) -> None:
    data = data_of(page)
    run = run_of(data, "sound")
    stored = pandas.read_parquet(runs / run["path"] / "rows.parquet")
    for name in ("label", "predicted", "description", "justification", "judge_model"):
        words = data["words"][run["rows"]["words"][name]]
        assert words == [text if isinstance(text, str) else "" for text in stored[name]]
    pictured = {name for name, _ in run["overlays"]}
    assert {i for ids in run["explanation"]["gallery"].values() for i in ids} < pictured
    assert [name for name, _ in run["explanation"]["classes"]] == ["cat", "dog", "tench"]
    accuracy = stored[stored["label"] == "cat"]["correct"].mean()
    assert run["explanation"]["classes"][0][1][0][0] == pytest.approx(accuracy, abs=5e-4)
    assert not run["noStrips"]
    assert data["notes"] == "", "those are about grounding"


def test_a_page_of_explanations_in_a_browser(page: Path, browser: Browser) -> None:
    run = run_of(data_of(page), "unsound")
    browser.open(page)
    text = browser.do("return document.querySelector('main').innerText")
    assert "judge unsound" in text
    assert "judge undecided" in text
    assert "at least 2.5 of 5" in text
    assert EVIL in text, "an extra table, and a model's name, as they are"
    browser.open(page, link("run", run))
    text = browser.do("return document.querySelector('main').innerText")
    assert text.index("Judge unsound: not shown that own > black") < text.index("Scores")
    for reading in READINGS.values():
        assert reading in text
    cell = "document.querySelector('[data-text=judge] [data-cell=correct_low]')"
    shown = browser.do(f"return {cell}.innerText")
    count, share = run["matrix"]["judge"]["correct_low"], run["scores"]["correct_low"]
    assert f"{count} of {share['n']}" in shown
    assert f"{100 * share['value']:.0f} %" in shown
    assert f"{100 * share['low']:.0f} % – {100 * share['high']:.0f} %" in shown
    outside = browser.do("return document.querySelector('[data-text=judge] figcaption').innerText")
    for part in (
        "1 scored, without a label that the model knows",
        "2 errors",
        "1 refusal",
        "2 degenerate",
    ):
        assert part in outside
    bars = browser.do(
        "return [...document.querySelectorAll('[data-control]')].map(r => [r.dataset.control,"
        "r.querySelectorAll('.interval').length, r.innerText])"
    )
    assert [name for name, _, _ in bars][:3] == ["own", "random", "black"]
    assert all(intervals == 1 for _, intervals, _ in bars)
    assert "not above" in bars[2][2]
    assert browser.do("return document.querySelectorAll('#classes tbody tr').length") == 3
    browser.do(f"{cell}.querySelector('button').click()")
    assert browser.do("return document.querySelectorAll('.card').length") == count


def test_the_gallery_opens_the_sample(page: Path, browser: Browser) -> None:
    run = run_of(data_of(page), "sound")
    browser.open(page, link("run", run))
    for cell in ("correct_low", "wrong_high"):
        ids = browser.do(
            f"return [...document.querySelectorAll('[data-gallery={cell}] .card')]"
            ".map(card => card.title)"
        )
        assert ids == run["explanation"]["gallery"][cell]
        assert 0 < len(ids) <= GALLERY
    browser.do("document.querySelector('[data-gallery=wrong_high] .card').click()")
    text = browser.do("return document.querySelector('#sample').innerText")
    assert "labelled" in text
    assert "wrong high" in text
    assert "The head is there, and so is most of the body." in text
    assert "with a dark border" in text
    assert "judge-1" in text
    assert "Step by step" not in text


def test_a_judges_words_never_become_markup(page: Path, browser: Browser) -> None:
    run = run_of(data_of(page), "sound")
    browser.open(page, link("samples", run))
    words = "return [...document.querySelectorAll('.card .words')].map(w => w.textContent)"
    assert browser.do(words)[:2] == [EVIL, FILLING]
    for place, said in enumerate((EVIL, FILLING)):
        browser.do(f"document.querySelectorAll('.card')[{place}].click()")
        quotes = "return [...document.querySelectorAll('blockquote')].map(q => q.textContent)"
        assert said in browser.do(quotes)
        assert browser.do("return document.querySelectorAll('img[src=x]').length") == 0
        browser.do("document.getElementById('sample').close()")
    noise = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert not [event for event in browser.events if event["method"] in noise]
    assert page.read_text("utf-8").count("</script>") == 2, "the data's and the script's own"


def test_masks_are_compared_sample_by_sample(page: Path, browser: Browser) -> None:
    data = data_of(page)
    one, two = (run_of(data, verdict) for verdict in ("sound", "unsound"))
    browser.open(page, f"{link('compare', one)}&{two['path'].replace('/', '%2F')}")
    text = browser.do("return document.querySelector('[data-score=judge_score]').innerText")
    value = one["scores"]["judge_score"]["value"] - two["scores"]["judge_score"]["value"]
    assert f"{value:+.4f}".replace("-", "−") in text


def test_only_sound_judges_are_ranked(page: Path, browser: Browser) -> None:
    browser.open(page)
    best = browser.do(
        "return [...document.querySelectorAll('tr[data-path]')].map(r => [r.dataset.path,"
        "[...r.querySelectorAll('.best')].length])"
    )
    sound = run_of(data_of(page), "sound")["path"]
    assert not [path for path, count in best if count > 1 and path != sound]
    bold = browser.do("return [...document.querySelectorAll('.best')].map(c => c.cellIndex)")
    heads = browser.do("return [...document.querySelectorAll('th')].map(h => h.innerText.trim())")
    assert {heads[place] for place in bold} <= {"accuracy ↑"}


def test_galleries_survive_a_budget(runs: Path) -> None:
    whole, _ = read(runs)
    table = rows.table(whole, 3000)
    for run, held in zip(whole, table.runs, strict=True):
        ids = {table.samples[place][0] for place in table.sets[held["set"]]}  # type: ignore[index]
        assert set(gallery(run)) <= ids
        assert len(ids) < 30
    album = pictures.Album()
    shown, note = pictures.overlays(album, whole, 60_000)
    assert "after the galleries" in note
    for run, found in zip(whole, shown, strict=True):
        assert [name for name, _ in found] == gallery(run)[: len(found)]
        assert found


def test_many_classes_and_many_words_stay_under_the_limit(tmp_path: Path) -> None:
    for beta in (0.3, 0.4, 0.5):
        folder = make_explanation(tmp_path, n=3000, beta=beta)
        stored = json.loads((folder / "results.json").read_text())
        one = stored["explanation"]["per_class"][CLASSES[0]]
        stored["explanation"]["per_class"] = {f"class {i}": one for i in range(1000)}
        (folder / "results.json").write_text(json.dumps(stored))
        table = pandas.read_parquet(folder / "rows.parquet")
        table["justification"] = [f"{beta} {i} " + "<" * 400 for i in range(len(table))]
        table.to_parquet(folder / "rows.parquet", index=False)
    made = build.write_page(tmp_path)
    assert made.size < 10e6
    run = data_of(made.path)["runs"][0]
    assert len(run["explanation"]["classes"]) == 100
    assert run["explanation"]["allClasses"] == 1000
    assert run["overlays"], "there is room left for pictures"
