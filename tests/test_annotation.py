"""The annotation page: what it does not hold, and what it does in a real browser."""

import base64
import csv
import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from tests.browser import Browser
from vlground.alignment.people import read_decisions, read_scores
from vlground.annotation import build, command
from vlground.annotation.build import Card, data_url, page, write_page
from vlground.errors import VlgroundError
from vlground.identity import digest

NASTY = "</script><img src=x onerror=alert(1)>"
WORDS = "zebra stripes are plainly visible"
WHY = "<b>because</b> of the </script><script>alert(2)</script> mane"
LABELS = ["cat", NASTY, "{{script}}", "dog", "fish", "bird"]


def cards(count: int = 6) -> list[Card]:
    rng = np.random.default_rng(0)
    return [
        Card(
            f'voc/truth_{i}, "{i}"',
            LABELS[i % len(LABELS)],
            rng.integers(0, 255, (60, 90, 3), dtype=np.uint8),
            f"{WORDS} {i}",
            WHY,
        )
        for i in range(count)
    ]


IDS = [card.id for card in cards()]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not binary:
        pytest.skip("no browser: neither `chromium` on the path nor CHROMIUM=FILE is set")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    write_page(cards(), tmp_path / "annotate.html", f"Pictures {NASTY}", seed=3)
    return tmp_path / "annotate.html"


@pytest.fixture
def acceptance(tmp_path: Path) -> Path:
    path = tmp_path / "accept.html"
    write_page(cards(), path, "Answers", seed=3, mode="acceptance", mask="sigmoid")
    return path


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def start(browser: Browser, path: Path, name: str) -> None:
    browser.open(path, "")
    browser.do(
        f"const n = document.getElementById('name'); n.value = {json.dumps(name)};"
        "document.querySelector('[data-do=start]').click()"
    )


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key)


def click(browser: Browser, selector: str) -> None:
    browser.do(f"document.querySelector('{selector}').click()")


def token(browser: Browser) -> str:
    return browser.do("return document.querySelector('.card')?.dataset.token ?? 'end'")


def text(browser: Browser) -> str:
    return browser.do("return document.body.innerText")


def saved(browser: Browser, folder: Path) -> tuple[str, list[list[str]]]:
    """Name and rows of the file that the page's button saves."""
    folder.mkdir()
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    click(browser, "[data-do=save]")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        files = [file for file in folder.iterdir() if file.suffix == ".csv"]
        if files and files[0].stat().st_size:
            return files[0].name, list(csv.reader(io.StringIO(files[0].read_text("utf-8"))))
        time.sleep(0.02)
    raise AssertionError("nothing was saved")


def id_of(path: Path, card: str) -> str:
    names: dict[str, str] = json.loads(base64.b64decode(data_of(path)["names"]))
    return names[card]


def test_the_file_is_what_was_clicked_and_typed(
    scores: Path, browser: Browser, tmp_path: Path
) -> None:
    start(browser, scores, "  Zoë, “Z”  ")
    expected = {}
    for place in range(6):
        name, value = id_of(scores, token(browser)), str(5 - place)
        if place == 2:
            press(browser, "s")
            continue
        expected[name] = value
        if place % 2:
            press(browser, value)
        else:
            click(browser, f'[data-value="{value}"]')
    assert "5 scored, 1 skipped, 0 open" in text(browser)
    file, (heads, *rows) = saved(browser, tmp_path / "saved")
    assert file == "scores-Zoë_Z_.csv"
    assert heads == ["id", "annotator", "score"]
    assert {row[0]: row[2] for row in rows} == expected
    assert {row[1] for row in rows} == {"Zoë, “Z”"}
    read = read_scores([tmp_path / "saved" / file]).ratings
    assert sorted(read.ids) == sorted(expected)
    assert [read.scores[read.ids.index(n), 0] for n in expected] == [*map(float, expected.values())]


def test_back_corrects_an_answer_and_keys_move(
    scores: Path, browser: Browser, tmp_path: Path
) -> None:
    start(browser, scores, "Corrector")
    first = token(browser)
    press(browser, "ArrowLeft")
    assert token(browser) == first
    press(browser, "ArrowRight")
    assert token(browser) == first, "nothing is passed over by a slip"
    press(browser, "1")
    second = token(browser)
    assert second != first
    press(browser, "Backspace")
    assert token(browser) == first
    pressed = "return document.querySelector('.choice[aria-pressed=true]')?.dataset.value"
    assert browser.do(pressed) == "1"
    press(browser, "4")
    assert token(browser) == second
    press(browser, "6")
    press(browser, "x")
    assert token(browser) == second
    _, (_, *rows) = saved(browser, tmp_path / "saved")
    assert rows == [[id_of(scores, first), "Corrector", "4"]]


def test_a_reload_resumes(scores: Path, browser: Browser) -> None:
    start(browser, scores, "Resumer")
    press(browser, "3")
    press(browser, "s")
    here = token(browser)
    browser.open(scores, "")
    browser.do(
        "const n = document.getElementById('name'); n.value = 'Resumer ';"
        "n.dispatchEvent(new Event('input'))"
    )
    assert "1 scored, 1 skipped, 4 open" in text(browser)
    click(browser, "[data-do=start]")
    assert token(browser) == here
    start(browser, scores, "Somebody else")
    assert "0 scored, 0 skipped, 6 open" in text(browser)


def test_the_skipped_come_again(scores: Path, browser: Browser) -> None:
    start(browser, scores, "Skipper")
    first = token(browser)
    for key in ("s", "1", "1", "1", "1", "1"):
        press(browser, key)
    assert token(browser) == "end"
    click(browser, "[data-do=again]")
    assert token(browser) == first
    press(browser, "2")
    assert "6 scored, 0 skipped, 0 open" in text(browser)


def order(browser: Browser, path: Path, name: str) -> list[str]:
    browser.open(path, "")
    browser.do("localStorage.clear()")
    start(browser, path, name)
    found = []
    while (card := token(browser)) != "end":
        found.append(card)
        press(browser, "0")
    return found


def test_orders_differ_between_annotators_and_come_again(browser: Browser, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_page(cards(8), tmp_path / f"{seed}.html", "Pictures", seed)
    write_page(cards(8)[::-1], tmp_path / "backwards.html", "Pictures", 1)
    ann = order(browser, tmp_path / "1.html", "Ann")
    assert len(set(ann)) == 8
    assert ann == order(browser, tmp_path / "1.html", " Ann ")
    assert ann == order(browser, tmp_path / "backwards.html", "Ann")
    bob = order(browser, tmp_path / "1.html", "Bob")
    assert sorted(bob) == sorted(ann)
    assert bob != ann
    assert ann != sorted(ann)
    names = [
        [id_of(tmp_path / f"{seed}.html", card) for card in found]
        for seed, found in ((1, ann), (2, order(browser, tmp_path / "2.html", "Ann")))
    ]
    assert names[0] != names[1]


def test_the_judge_and_the_truth_are_nowhere_in_the_page(scores: Path, browser: Browser) -> None:
    source = scores.read_text("utf-8")
    for secret in ("zebra", "stripes", "mane", "because", "truth_", "voc/", "sigmoid"):
        assert secret not in source, secret
    assert set(data_of(scores)["cards"][0]) == {"token", "label", "image"}
    tokens = [card["token"] for card in data_of(scores)["cards"]]
    assert tokens == sorted(tokens), "the data set's order may tell the truth"
    start(browser, scores, "Ann")
    document = browser.do("return document.documentElement.outerHTML")
    assert not any(name in document for name in IDS)
    assert data_of(scores)["names"] not in document


def test_a_changed_picture_has_progress_of_its_own(
    scores: Path, browser: Browser, tmp_path: Path
) -> None:
    start(browser, scores, "Ann of two pages")
    press(browser, "3")
    other = [Card(card.id, card.label, 255 - card.image) for card in cards()]
    write_page(other, tmp_path / "other.html", "Pictures", seed=3)
    start(browser, tmp_path / "other.html", "Ann of two pages")
    assert "0 scored" in text(browser)


def test_data_never_become_markup(scores: Path, acceptance: Path, browser: Browser) -> None:
    for path in (scores, acceptance):
        start(browser, path, NASTY)
        labels = []
        while token(browser) != "end":
            labels.append(browser.do("return document.getElementById('label').textContent"))
            assert browser.do("return document.querySelectorAll('img').length") == 1
            assert (
                browser.do("return document.querySelectorAll('main script, main b b').length") == 0
            )
            press(browser, "1")
        assert sorted(labels) == sorted(LABELS)
        noise = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
        assert not [event for event in browser.events if event["method"] in noise]
    assert browser.do("return document.getElementById('who').textContent") == NASTY


def test_one_file_without_network(scores: Path, browser: Browser) -> None:
    def urls() -> dict[str, str]:
        sent = [e["params"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
        return {one["requestId"]: one["request"]["url"] for one in sent}

    start(browser, scores, "Ann")
    local = ("about:blank", f"file://{scores}", "data:image/")
    assert all(url.startswith(local) for url in urls().values())
    # What the policy is for: even a script that got in could send nothing.
    browser.do("new Image().src = 'https://example.org/x'")
    browser.do("return 0")
    failed = [e["params"] for e in browser.events if e["method"] == "Network.loadingFailed"]
    blocked = {urls()[one["requestId"]]: one.get("blockedReason") for one in failed}
    assert blocked == {"https://example.org/x": "csp"}


def test_acceptance_shows_the_judges_words(
    acceptance: Path, browser: Browser, tmp_path: Path
) -> None:
    start(browser, acceptance, "Ann")
    expected = []
    for key in ("a", "r", "1", "0", "s"):
        card = token(browser)
        number = cards()[IDS.index(id_of(acceptance, card))].description
        assert browser.do("return document.getElementById('description').textContent") == number
        assert browser.do("return document.getElementById('justification').textContent") == WHY
        if key != "s":
            accepted = "1" if key in "a1" else "0"
            expected.append([id_of(acceptance, card), "Ann", accepted, "sigmoid"])
        press(browser, key)
    file, (heads, *rows) = saved(browser, tmp_path / "saved")
    assert heads == ["id", "annotator", "accepted", "mask"]
    assert sorted(rows) == sorted(expected)
    decisions = read_decisions([tmp_path / "saved" / file])
    assert {(d.id, d.accepted) for d in decisions} == {(r[0], r[2] == "1") for r in expected}


def test_a_name_is_needed(scores: Path, browser: Browser) -> None:
    start(browser, scores, "   ")
    assert "Please give a name first." in text(browser)
    assert token(browser) == "end"


def test_a_browser_that_keeps_nothing_says_so(scores: Path, browser: Browser) -> None:
    browser.open(scores, "")
    browser.do("Storage.prototype.setItem = () => { throw new Error('full'); }")
    browser.do(
        "document.getElementById('name').value = 'Private';"
        "document.querySelector('[data-do=start]').click()"
    )
    press(browser, "3")
    assert "This browser keeps nothing" in text(browser)
    assert "1 scored" in text(browser)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
def test_everything_is_in_sight(scores: Path, browser: Browser, width: int, height: int) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < 500,
    )
    start(browser, scores, f"Ann at {width}")
    box = "const b = e => document.querySelector(e).getBoundingClientRect();"
    assert browser.do("return document.documentElement.scrollWidth") <= width
    assert browser.do(f"{box} return b('.picture img').height") >= 200
    lowest = browser.do(f"{box} return b('[data-do=skip]').bottom")
    assert lowest <= height, "all that can be answered, without scrolling"
    assert browser.do(f"{box} return b('[data-value=\"0\"]').height") >= 44, "a thumb's width"
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_pictures_are_sized() -> None:
    def opened(image: np.ndarray) -> Image.Image:
        kind, data = data_url(image).removeprefix("data:image/").split(";base64,")
        found = Image.open(io.BytesIO(base64.b64decode(data)))
        assert found.format is not None
        assert found.format.lower() == kind
        return found

    large = opened(np.zeros((1000, 2000, 3), dtype=np.uint8))
    assert (large.format, large.size) == ("JPEG", (build.SIDE, build.SIDE // 2))
    small = cards(1)[0].image
    lossless = opened(small)
    assert lossless.format == "PNG"
    assert np.array_equal(np.asarray(lossless), small)


def test_pages_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.html"
    with pytest.raises(VlgroundError, match="no picture"):
        write_page([], path, "t")
    with pytest.raises(VlgroundError, match="two cards have the id"):
        write_page([*cards(), cards()[0]], path, "t")
    monkeypatch.setattr(build, "LIMIT", 40_000)
    with pytest.raises(VlgroundError, match=r"^--samples 6: 6 pictures take .* about \d fit"):
        write_page(cards(), path, "t")
    assert not path.exists()


def test_the_page_is_the_same_each_time() -> None:
    assert page(cards(), "t", 0, "scores") == page(cards()[::-1], "t", 0, "scores")


def run_directory(folder: Path, outcomes: list[str]) -> Path:
    folder.mkdir()
    choices = {"dataset": "drawn", "mask": "overlay", "model": "secret_model"}
    results = {"task": "explanation", "choices": choices, "scores": {}, "counts": {}}
    (folder / "results.json").write_text(json.dumps(results))
    rows = {"id": IDS, "outcome": outcomes, "score": 4.5}
    rows |= {"description": [card.description for card in cards()], "justification": WHY}
    pandas.DataFrame(rows).to_parquet(folder / "rows.parquet")
    return folder


def shown(directory: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    yield from ((card.id, card.label, card.image) for card in cards())


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vlground.tasks.explaining.shown_pictures", shown)
    outcomes = ["score", "refusal", "score", "degenerate", "error", "score"]
    run = run_directory(tmp_path / "run", outcomes)
    output = tmp_path / "annotate.html"
    monkeypatch.setattr("sys.argv", ["vlground-annotate", str(run), "--output", str(output)])
    command.main()
    assert "5 of 6 samples" in capsys.readouterr().out
    names = json.loads(base64.b64decode(data_of(output)["names"]))
    assert sorted(names.values()) == sorted(set(IDS) - {IDS[3]})
    source = output.read_text("utf-8")
    for secret in ("zebra", "secret_model", "4.5", str(tmp_path)):
        assert secret not in re.sub(r"base64,[^\"]*", "", source), secret
    command.annotate(run, output, 2, 7, "scores")
    names = json.loads(base64.b64decode(data_of(output)["names"]))
    drawn = sorted(set(IDS) - {IDS[3]}, key=lambda name: digest([7, name]))[:2]
    assert sorted(names.values()) == sorted(drawn)
    command.annotate(run, output, 9, 0, "acceptance")
    data = data_of(output)
    assert data["mask"] == "overlay"
    assert len(data["cards"]) == 3
    assert {card["justification"] for card in data["cards"]} == {WHY}


def test_the_command_refuses_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["vlground-annotate", str(tmp_path)])
    with pytest.raises(SystemExit, match="no finished run there"):
        command.main()
    run = run_directory(tmp_path / "run", ["score"] * 6)
    with pytest.raises(VlgroundError, match="--samples 0"):
        command.annotate(run, tmp_path / "a.html", 0, 0, "scores")
    results = json.loads((run / "results.json").read_text()) | {"task": "grounding"}
    (run / "results.json").write_text(json.dumps(results))
    with pytest.raises(VlgroundError, match="a run of task=grounding"):
        command.annotate(run, tmp_path / "a.html", 1, 0, "scores")
