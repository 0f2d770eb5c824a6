"""Wrong sentences of captions, against scenes whose truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

from vlground.captioners.planted import PlantedCaptioner
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import ERROR_TYPES, parse
from vlground.errors import VlgroundError
from vlground.metrics.claims import estimates, rows_of, tally
from vlground.rewards.sentences import split

DATA = ShapesCaptions(200, "test", "in", "plain", 96, seed=3)


def caption(index: int, *sentences: str) -> tuple[Sample, list[str]]:
    sample = DATA[index]
    return replace(sample, text=" ".join(sentences)), list(sentences)


def table(*captions: tuple[Sample, list[str]]) -> pandas.DataFrame:
    return rows_of([one for one, _ in captions], [said for _, said in captions])


def wrong_about(index: int) -> dict[str, str]:
    """Error type -> a sentence with this error and no other, found by trying what can be said."""
    scene = scene_of(DATA[index].image_id)
    found: dict[str, str] = {}
    for seed in range(60):
        for error in ERROR_TYPES:
            writer = PlantedCaptioner({error: 1}, 6, 6)
            ((one,),) = writer.caption([DATA[index]], [""], 1, seed)
            for piece in split(one.text):
                claim = parse(piece.text)
                assert claim is not None
                if claim.errors(scene) == {error}:
                    found.setdefault(error, piece.content)
    return found


def true_of(index: int) -> list[str]:
    return [piece.content for piece in split(DATA[index].text)]


def test_each_type_is_counted_as_itself() -> None:
    wrong = wrong_about(0)
    assert set(wrong) == set(ERROR_TYPES)
    rows = table(*(caption(0, *true_of(0), sentence) for sentence in wrong.values()))
    for place, error in enumerate(wrong):
        row = rows.iloc[place]
        assert (row["wrong"], row[f"error_{error}"], row["unparsed"]) == (1, 1, 0)
        assert sum(row[f"error_{name}"] for name in ERROR_TYPES) == 1
        assert row["wrong_text"] == f"{wrong[error]} ({error})"


def test_shares_by_hand() -> None:
    wrong = wrong_about(0)
    rows = table(
        caption(0, wrong["attribute"], wrong["attribute"], wrong["location"], "A cat sleeps."),
        caption(1, *true_of(1)[:2]),
        caption(2, true_of(2)[0], "The end."),  # whether it is wrong is not known
        caption(3),
    )
    scores = estimates(rows)
    found = {name: (one.value, one.n) for name, one in scores.items() if one.value}
    assert found == {
        "wrong_sentences": (3 / 6, 6),
        "error/attribute": (2 / 6, 6),
        "error/location": (1 / 6, 6),
        "wrong_captions": (1 / 3, 3),
        "unparsed_sentences": (2 / 8, 8),
        "repeated_sentences": (1 / 8, 8),
        "sentences": (2.0, 4),
    }
    assert tally(rows) == {
        "sentences": 8,
        "unparsed": 2,
        "repeated": 1,
        "captions without a sentence": 1,
        "captions of which it is not known": 1,
    }
    assert rows["unparsed_text"].tolist() == ["A cat sleeps.", "", "The end.", ""]


def test_what_cannot_be_read_is_neither_right_nor_wrong() -> None:
    rows = table(caption(0, "A cat sleeps."), caption(1, "Nothing", "to read."))
    scores = estimates(rows)
    assert scores["unparsed_sentences"].value == 1
    for name in ("wrong_sentences", "wrong_captions", "error/attribute"):
        assert np.isnan(scores[name].value), name
        assert scores[name].n == 0
    assert estimates(rows.iloc[:0])["sentences"].n == 0


def test_a_sentence_said_twice_is_repeated_in_whatever_space() -> None:
    first = true_of(0)[0]
    rows = table(caption(0, f"{first} ", first, f"\n{first}"))
    assert rows[["sentences", "repeated"]].values.tolist() == [[3, 2]]


def test_planted_rates_are_found_again_with_intervals_over_images() -> None:
    rates = dict.fromkeys(ERROR_TYPES, 0.1)
    samples = [DATA[index] for index in range(len(DATA))]
    written = PlantedCaptioner(rates).caption(samples, [""] * len(samples), 1, 0)
    captions = [replace(s, text=one.text) for s, (one,) in zip(samples, written, strict=True)]
    rows = rows_of(captions, [[piece.text for piece in split(one.text)] for one in captions])
    scores = estimates(rows)
    assert scores["wrong_sentences"].value == pytest.approx(0.5, abs=0.05)
    for error in ERROR_TYPES:
        one = scores[f"error/{error}"]
        assert 0.05 < one.low < one.value < one.high < 0.16  # type: ignore[operator]
    assert scores["unparsed_sentences"].value == 0
    assert estimates(rows.iloc[::-1])["wrong_sentences"] == scores["wrong_sentences"]
    # Sentences of one image are dependent: an image drawn twice brings all of them twice.
    twice = pandas.concat([rows, rows.assign(id=rows["id"] + "/again")])
    assert estimates(twice)["wrong_sentences"].low == scores["wrong_sentences"].low


def test_another_world_is_told() -> None:
    with pytest.raises(VlgroundError, match=r"^dataset: photo is no image of shapes_captions"):
        rows_of([Sample("photo", "photo", Path(), "")], [["A cat."]])
