"""The review page: which images it shows, what it says of them, and how it behaves in a browser."""

import base64
import io
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
from tests.captioned import HOSTILE, IMAGES, make_world
from tests.cli import vlground
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.page import review
from vlground.page.reviewed import Held, Reviewed, Thing
from vlground.plots import shown
from vlground.rewards.best import Best
from vlground.rewards.described import Described
from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.sentences import split
from vlground.tasks.reviewing import GROUPS, checked

SAMPLE, FIGURES = 5, 4


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one run."""
    folder = tmp_path_factory.mktemp("ran")
    more = (f"task.review={SAMPLE}", f"task.overlays={FIGURES}", "logger=none")
    vlground(*make_world(folder / "world"), *more, cwd=folder)
    (path,) = folder.rglob("results.json")
    return path.parent


@pytest.fixture(scope="module")
def data(ran: Path) -> dict[str, Any]:
    return data_of((ran / "review.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not binary:
        pytest.skip("no browser: neither `chromium` on the path nor CHROMIUM=FILE is set")
    browser = Browser(binary, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    page: dict[str, Any] = json.loads(found[1])
    return page


def by_id(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {image["id"]: image for image in data["images"]}


def text_of(candidate: dict[str, Any]) -> str:
    return "".join(piece[0] for one in candidate["sentences"] for piece in one["pieces"])


def test_sample_and_galleries(ran: Path, data: dict[str, Any]) -> None:
    groups = {name: [] for name in GROUPS}
    for image in data["images"]:
        for name in image["groups"]:
            groups[name].append(image["id"])
    assert len(groups["sample"]) == SAMPLE
    assert groups["emptied"] == ["1"]
    assert groups["not_taken"] == ["4"]
    assert set(groups["all_tied"]) == {"1"}
    assert set(groups["ties"]) == {"3"}
    rows = pandas.read_parquet(ran / "rows.parquet")
    by_image = rows.groupby("image_id")["penalty"]
    gaps = (by_image.max() - by_image.min()).dropna()
    widest = sorted(gaps, reverse=True)[:10]
    assert len(groups["gap"]) == 10
    assert sorted((gaps[name] for name in groups["gap"]), reverse=True) == pytest.approx(widest)
    assert sorted(image["gap"] for image in data["images"] if "gap" in image["groups"]) == (
        pytest.approx(sorted(widest))
    )


def test_what_is_said_of_each_image(ran: Path, data: dict[str, Any]) -> None:
    rows = pandas.read_parquet(ran / "rows.parquet").set_index("id")
    for image in data["images"]:
        for candidate in image["candidates"]:
            row = rows.loc[f"{image['id']}/{candidate['number']}"]
            assert text_of(candidate) == row["text"]
            assert candidate["reason"] == row["flag"]
            assert (candidate["number"] == image["winner"]) == row["winner"]
            assert (candidate["number"] == image["worst"]) == row["worst"]
            if candidate["total"] is not None:
                assert candidate["total"] == row["penalty"]
                assert candidate["penalties"] == [row["penalty_sentences"], row["penalty_nouns"]]
                assert candidate["raw"][0] == row["wrong_sentences"]
                names = row["undetected"].split(", ") if row["undetected"] else []
                assert candidate["raw"][1] == len(names)
        if image["winner"] is not None:
            won = image["candidates"][image["winner"]]
            kept = [
                "".join(piece[0] for piece in one["pieces"])
                for number, one in enumerate(won["sentences"])
                if number not in image["removed"]
            ]
            assert "".join(kept).strip() == rows.loc[f"{image['id']}/{image['winner']}", "refined"]


def test_marks_of_sentences_and_nouns(data: dict[str, Any]) -> None:
    images = by_id(data)
    dog, cat = images["3"]["candidates"][0], images["3"]["candidates"][2]
    names = [name for name, *_ in images["3"]["things"]]
    first, second = dog["sentences"]
    assert first["errors"] == [0] * len(ERROR_TYPES)
    assert [piece for piece in first["pieces"] if piece[1] >= 0] == [["dog", names.index("dog"), 0]]
    assert second["errors"][ERROR_TYPES.index("attribute")] == pytest.approx(1 / 3, abs=1e-4)
    assert second["wrong"] == [], "one of three is not above the threshold"
    assert cat["sentences"][0]["wrong"] == [ERROR_TYPES.index("hallucination")]
    assert [piece for piece in cat["sentences"][0]["pieces"] if piece[1] >= 0] == [
        ["cat", names.index("cat"), 1]
    ]
    (zebra,) = [p for p in images["4"]["candidates"][0]["sentences"][0]["pieces"] if p[1] >= 0]
    assert zebra[2] == 2, "the detector cannot tell"
    assert images["4"]["things"][zebra[1]][1] is None
    (boxes,) = [boxes for name, _, boxes in images["3"]["things"] if name == "dog"]
    assert boxes == [[0, 0, 32, 48, 0.75]]
    assert images["3"]["size"] == [64, 48]
    assert images["3"]["objects"] == ["dog"]
    assert "2 candidates share the lowest penalty" in images["3"]["why"]
    assert images["1"]["emptied"]
    assert images["4"]["why"].startswith("Nothing was taken")


def test_figures_are_the_winners_images(ran: Path) -> None:
    rows = pandas.read_parquet(ran / "rows.parquet")
    won = {row.image_id: row.id for row in rows[rows["winner"]].itertuples()}
    samples = [Sample(f"{n}/0", str(n), Path(), "") for n in range(IMAGES)]
    chosen = [won[sample.image_id] for sample in shown(samples, FIGURES) if sample.image_id in won]
    files = {path.name for path in (ran / "figures").glob("*.jpg")}
    assert files == {f"{digest(name)}.jpg" for name in chosen if not name.startswith("1/")}
    assert len(files) > 1


def facts(**options: Any) -> review.Facts:
    asked = {"sentences": True, "nouns": True}
    counts = {"images": 1, "ties": 0, "all_tied": 0, "emptied": 0, "sentences_removed": 0}
    metric = VigorReward(**options)
    return review.Facts("a </title> run", "f" * 16, "What?", metric, asked, counts, GROUPS)


def reviewed(number: int, text: str, image: Any = None) -> Reviewed:
    image = Path("nowhere.jpg") if image is None else image
    pieces = split(text)
    untold = np.full((len(pieces), len(ERROR_TYPES)), np.nan)
    candidates = {0: Described(text, pieces, untold, [])}
    taken = candidates[0].refined(VigorReward())
    best = Best(0, None, 1, (0,), (0,), candidates, taken)
    thing = Thing("dog", 0.5, np.zeros((0, 4)), np.zeros(0))
    held = {0: Held((float("nan"), 0.0), (0.0, 0.0), 0.0)}
    sample = Sample(str(number), str(number), image, "")
    return Reviewed(sample, ["sample"], None, candidates, held, {}, [thing], best, 0, "Why?")


def test_text_no_file_can_hold_is_shown_all_the_same(tmp_path: Path) -> None:
    review.write_review(tmp_path / "review.html", facts(), [reviewed(0, "half \ud83d. \u2028 end")])
    text = (tmp_path / "review.html").read_text("utf-8")
    (image,) = data_of(text)["images"]
    assert text_of(image["candidates"][0]) == "half \ufffd. \u2028 end"
    assert image["candidates"][0]["raw"][0] is None
    assert image["noPicture"] == "no such file"
    assert "<title>a &lt;/title&gt; run" in text


def test_pictures_shrink_and_then_go(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (400, 800, 3), dtype=np.uint8) for _ in range(4)]
    images = [reviewed(number, "A dog.", one) for number, one in enumerate(noise)]

    def sides() -> list[int | None]:
        text = review.page(facts(), images)
        assert len(text.encode()) <= review.LIMIT
        found = data_of(text)
        assert all(image["size"] == [800, 400] for image in found["images"])
        files = [None if p is None else base64.b64decode(p) for p in found["pictures"]]
        return [None if f is None else Image.open(io.BytesIO(f)).width for f in files]

    assert sides() == [512] * 4
    whole = len(review.page(facts(), images).encode())
    monkeypatch.setattr(review, "LIMIT", whole - 1)
    assert sides() == [384] * 4
    found = data_of(review.page(facts(), images))
    smallest = len(review.jpeg(Image.fromarray(noise[0]), *review.SIZES[-1]))
    rest = len(review.page(facts(), images).encode()) - sum(map(len, found["pictures"]))
    monkeypatch.setattr(review, "LIMIT", rest + int(1.5 * smallest))
    assert sides() == [256, None, None, None]
    assert data_of(review.page(facts(), images))["note"].startswith("3 pictures left out")


@pytest.mark.parametrize("count", [-1, 2.5, "all", True, None])
def test_no_number_of_images(count: Any) -> None:
    with pytest.raises(VlgroundError, match=r"task\.review="):
        checked(count)


def test_one_file_that_runs_no_other_script(ran: Path, browser: Browser) -> None:
    page = ran / "review.html"
    browser.open(page, "2")
    assert browser.do("return document.querySelector('h1').textContent") == "Image 2"
    shown = browser.do("return document.querySelector('.candidate.won .caption').textContent")
    assert shown == HOSTILE
    assert (
        browser.do("return document.querySelectorAll('main script, main img[src=x]').length") == 0
    )
    for _ in range(3):
        browser.do("document.querySelector('[data-step=\"1\"]:not([disabled])')?.click()")
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    local = ("about:blank", f"file://{page}", "data:image/")
    assert all(url.startswith(local) for url in requests), requests
    noise = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert not [event for event in browser.events if event["method"] in noise]


def test_keys_filters_and_order(ran: Path, data: dict[str, Any], browser: Browser) -> None:
    browser.open(ran / "review.html", "")
    items = "return [...document.querySelectorAll('.item b')].map(b => b.textContent)"
    title = "return document.querySelector('h1').textContent"
    ids = browser.do(items)
    assert ids == [image["id"] for image in data["images"]]
    key = "dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true}}))"
    browser.do(f"document.body.{key.format('ArrowRight')}")
    assert browser.do(title) == f"Image {ids[1]}"
    browser.do(f"document.body.{key.format('k')}")
    assert browser.do(title) == f"Image {ids[0]}"
    browser.do(f"document.querySelector('input').{key.format('j')}")
    assert browser.do(title) == f"Image {ids[0]}", "typing is no step"

    choose = "const s = document.querySelectorAll('select')[{}]; s.value = '{}'; "
    choose += "s.dispatchEvent(new Event('change'))"
    browser.do(choose.format(0, "emptied"))
    assert browser.do(items) == ["1"]
    struck = browser.do("return document.querySelector('.refined del').textContent")
    assert struck.startswith("There is a cat")
    browser.do(choose.format(0, ""))
    browser.do(choose.format(1, "gap"))
    gaps = {image["id"]: -1 if image["gap"] is None else image["gap"] for image in data["images"]}
    assert [gaps[name] for name in browser.do(items)] == sorted(gaps.values(), reverse=True)
    browser.do(
        "const i = document.querySelector('input'); i.value = 'zebra'; "
        "i.dispatchEvent(new Event('input'))"
    )
    assert browser.do(items) == ["4"]


def test_a_noun_shows_its_boxes(ran: Path, browser: Browser) -> None:
    browser.open(ran / "review.html", "3")
    assert browser.do("return document.querySelectorAll('.box').length") == 0
    point = "const n = [...document.querySelectorAll('.candidate .noun')].find(n => "
    point += "n.textContent === 'dog'); n.dispatchEvent(new MouseEvent('mouse{}'));"
    browser.do(point.format("enter"))
    box, photo = (
        browser.do(
            f"const r = document.querySelector('{name}').getBoundingClientRect();"
            "return [r.left, r.top, r.width, r.height]"
        )
        for name in (".box", ".photo img")
    )
    expected = [photo[0], photo[1], photo[2] / 2, photo[3]]
    assert box == pytest.approx(expected, abs=1)
    browser.do(point.format("leave"))
    assert browser.do("return document.querySelectorAll('.box').length") == 0


def test_letters_beside_colours(ran: Path, browser: Browser) -> None:
    browser.open(ran / "review.html", "3")
    letters = "return [...document.querySelectorAll('.candidate .letter')].map(l => l.textContent)"
    assert browser.do(letters) == ["H"]
    texts = browser.do(
        "return [...document.querySelectorAll('.noun.undetected')].map(n => "
        "[n.textContent, getComputedStyle(n).textDecorationStyle])"
    )
    assert texts[-1] == ["cat0.10", "wavy"]
    badges = browser.do(
        "return [...document.querySelectorAll('.candidate .badge')].map(b => b.textContent)"
    )
    assert {"winner, tied with 1", "worst"} <= set(badges)


def test_a_picture_that_is_not_here(ran: Path, data: dict[str, Any], browser: Browser) -> None:
    missing = {image["id"]: image["noPicture"] for image in data["images"] if image["noPicture"]}
    assert missing == {"1": "no image format"}
    browser.open(ran / "review.html", "1")
    told = browser.do("return document.querySelector('.no-picture').textContent")
    assert told == "The image is not here: no image format."
