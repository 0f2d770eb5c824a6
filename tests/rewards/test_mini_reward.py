"""The shipped reward model tells what is wrong in its captioner's own sentences, by looking."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from safetensors import safe_open
from tests.test_config import composed

from vlground.config import build
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions
from vlground.metrics.discrimination import auc
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split
from vlground.rewards.simulated import SimulatedAnnotators
from vlground.rewards.trained import TrainedSentences
from vlground.run import CONF

FOLDER = CONF.parent / "src" / "vlground" / "miniatures"
NAMES = ("mini_reward", "mini_reward_holistic")
PROMPT = "Describe this image in detail."
SCENES = 80


@cache
def captions() -> tuple[list[Sample], list[list[str]], np.ndarray]:
    """Captions of scenes that no card quotes: samples, sentences, `(s, 5)` their errors."""
    data = ShapesCaptions(SCENES, "test", "in", "plain", 96, seed=11)
    samples = [data[index] for index in range(len(data))]
    captioner = build({**composed("model=mini_captioner")["model"], "temperature": 1.0})
    written = captioner.caption(samples, [PROMPT] * len(samples), 1, seed=0)
    sentences = [[one.content for one in split(caption.text)] for (caption,) in written]
    told = SimulatedAnnotators().score(samples, sentences)
    errors = [[one.get(t, np.nan) for t in ERROR_TYPES[:5]] for rows in told for one in rows]
    return samples, sentences, np.array(errors)


def found(name: str, samples: list[Sample]) -> dict[str, float]:
    """AUC of any error, and of each type."""
    scorer = build(composed(f"reward={name}")["reward"])
    assert isinstance(scorer, TrainedSentences)
    _, sentences, errors = captions()
    told = scorer.score(samples, sentences)
    said = np.array([[one[t] for t in ERROR_TYPES[:5]] for rows in told for one in rows])
    known = ~np.isnan(errors).any(axis=1)
    said, truth = said[known], errors[known]
    weights = np.ones((1, len(said)))
    of_type = {
        name: float(auc(said[:, k], truth[:, k], weights)[0])
        for k, name in enumerate(ERROR_TYPES[:5])
    }
    return {"any": float(auc(said.max(axis=1), truth.max(axis=1), weights)[0]), **of_type}


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_small_and_in_half_precision_with_a_card(name: str) -> None:
    folder = FOLDER / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2.6e6
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert kinds == {"F16"}
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# {name}\n")
    card = " ".join(text.split())
    assert "miniature_reward" in card
    assert "they are not the paper's" in card


def test_it_tells_wrong_sentences_and_looks_at_the_image() -> None:
    samples, _, _ = captions()
    own = found("mini_reward", samples)
    assert own["any"] >= 0.70
    turned = samples[1:] + samples[:1]
    others = [replace(s, image=o.image) for s, o in zip(samples, turned, strict=True)]
    mistaken = found("mini_reward", others)
    for name in ("any", "hallucination", "attribute"):
        assert mistaken[name] < own[name] - 0.03, name


def test_labels_of_sentences_make_it_better_than_labels_of_captions() -> None:
    samples, _, _ = captions()
    fine, holistic = (found(name, samples)["any"] for name in NAMES)
    assert fine > holistic + 0.05
