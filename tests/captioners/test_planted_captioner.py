"""The control errs as often as it is told, and each candidate depends on its own name alone."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from vlground.captioners.planted import PlantedCaptioner
from vlground.config import build
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import ERROR_TYPES, parse
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split
from vlground.run import CONF

RATES = {"hallucination": 0.15, "attribute": 0.1, "relationship": 0.1, "location": 0.05}
DATA = ShapesCaptions(400, "test", "in", "plain", 96, seed=0)
SAMPLES = [
    Sample(f"{name}/x", name, np.zeros((4, 4, 3), np.uint8), "not read") for name in DATA.objects
]


def texts(captioner: PlantedCaptioner, samples: list[Sample], *numbers: int) -> list[list[str]]:
    """Of n candidates, with a seed, from the first that is wanted."""
    rows = captioner.caption(samples, [""] * len(samples), *numbers)
    return [[one.text for one in row] for row in rows]


def test_sentences_make_the_errors_that_were_asked_for() -> None:
    found: Counter[frozenset[str]] = Counter()
    lengths: Counter[int] = Counter()
    for sample, row in zip(SAMPLES, texts(PlantedCaptioner(RATES), SAMPLES, 5, 0), strict=True):
        scene = scene_of(sample.image_id)
        for text in row:
            claims = [parse(piece.text) for piece in split(text)]
            lengths[len(claims)] += 1
            found.update(claim.errors(scene) for claim in claims if claim is not None)
    assert sum(found.values()) == sum(length * many for length, many in lengths.items())
    said = found.total()
    for error in ERROR_TYPES:
        rate = RATES.get(error, 0.0)
        bound = 4 * math.sqrt(said * rate * (1 - rate))
        assert abs(found[frozenset({error})] - said * rate) <= bound, error
    assert set(found) == {frozenset(), *(frozenset({error}) for error in RATES)}
    assert set(lengths) == {2, 3, 4, 5, 6}
    assert max(lengths.values()) < 1.3 * min(lengths.values())


def test_a_candidate_depends_on_seed_image_and_number_alone() -> None:
    captioner, samples = PlantedCaptioner(RATES), SAMPLES[:20]
    five = texts(captioner, samples, 5, 0)
    assert [row[:2] for row in five] == texts(captioner, samples, 2, 0)
    assert [row[3:] for row in five] == texts(captioner, samples, 5, 0, 3)
    assert texts(captioner, samples, 5, 0, 5) == [[]] * 20
    assert texts(captioner, samples[::-1], 5, 0) == five[::-1]
    assert [texts(captioner, [sample], 5, 0)[0] for sample in samples] == five
    asked = captioner.caption(samples, [f"Describe {i}." for i in range(20)], 5, 0)
    assert [[one.text for one in row] for row in asked] == five
    assert np.mean([one != row[0] for row in five for one in row[1:]]) > 0.9
    other = texts(captioner, samples, 5, 1)
    assert np.mean(np.array(five) != np.array(other)) > 0.9
    (one, *_) = captioner.caption(samples[:1], [""], 1, 0)[0]
    assert (one.log_probabilities, one.cut_off, one.problem, one.model) == (None, False, "", None)


def test_the_number_of_sentences_is_as_asked() -> None:
    for shortest, longest in ((1, 1), (3, 4)):
        captioner = PlantedCaptioner({}, shortest, longest)
        rows = texts(captioner, SAMPLES[:40], 3, 0)
        assert {len(split(text)) for row in rows for text in row} == {shortest, longest}


def test_the_option_builds_it() -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF / "model" / "captioner_shapes.yaml"))
    captioner = build(node)  # type: ignore[arg-type]
    assert isinstance(captioner, PlantedCaptioner)
    assert set(node["errors"]) == set(ERROR_TYPES)  # type: ignore[index,call-overload]
    same = PlantedCaptioner({**RATES, "conjecture": 0.05}, 2, 6)
    assert texts(captioner, SAMPLES[:5], 5, 0) == texts(same, SAMPLES[:5], 5, 0)


def test_images_of_another_world_are_refused() -> None:
    other = Sample("1", "cat.jpg", np.zeros((4, 4, 3), np.uint8), "")
    with pytest.raises(VlgroundError, match=r"^dataset: cat.* is no image of shapes_captions"):
        PlantedCaptioner(RATES).caption([SAMPLES[0], other], ["", ""], 1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": {"colour": 0.1}}, r"^model\.errors=colour: expected types among hallucination"),
        ({"errors": {"unspecified": 0.1}}, r"^model\.errors=unspecified: "),
        ({"errors": {"attribute": 1.2}}, r"^model\.errors\.attribute=1\.2: expected 0 to 1$"),
        ({"errors": {"attribute": -0.1}}, r"^model\.errors\.attribute=-0\.1: "),
        ({"errors": {"attribute": math.nan}}, r"^model\.errors\.attribute=nan: "),
        ({"errors": dict.fromkeys(ERROR_TYPES, 0.3)}, r"^model\.errors=.*sum of at most 1$"),
        ({"errors": {}, "min_sentences": 0}, r"^model\.min_sentences=0: expected 1 or more$"),
        (
            {"errors": {}, "min_sentences": 4, "max_sentences": 3},
            r"^model\.max_sentences=3: expected model\.min_sentences=4 or more$",
        ),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        PlantedCaptioner(**options)


def test_rates_may_add_up_to_one() -> None:
    captioner = PlantedCaptioner(dict.fromkeys(ERROR_TYPES, 0.2))
    for sample, row in zip(SAMPLES[:50], texts(captioner, SAMPLES[:50], 1, 0), strict=True):
        claims = [parse(piece.text) for piece in split(row[0])]
        wrong = [claim is not None and claim.errors(scene_of(sample.image_id)) for claim in claims]
        assert np.mean(list(map(bool, wrong))) > 0.6
