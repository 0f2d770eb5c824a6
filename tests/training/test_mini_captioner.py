"""The shipped captioners: they see and answer, and their captions hallucinate by habit."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vlground.captioners.local import LocalCaptioner
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import parse
from vlground.data.shapes.scene import generator
from vlground.errors import VlgroundError
from vlground.metrics.chair import Chair, estimates, rows_of
from vlground.miniatures.captioner_cards import CAPTIONERS, card
from vlground.rewards.sentences import split
from vlground.run import CONF
from vlground.training.shapes_dialogues import ask

MINIATURES = CONF.parent / "src" / "vlground" / "miniatures"
NAMES = ("mini_captioner", "mini_captioner_1", "mini_captioner_2")
PROMPT = "Describe this image in detail."
DATA = ShapesCaptions(40, "test", "in", "plain", 96, seed=3)
SAMPLES = [DATA[index] for index in range(len(DATA))]


def said(captioner: LocalCaptioner, samples: list[Sample], prompts: list[str]) -> list[str]:
    return [one.text for (one,) in captioner.caption(samples, prompts, 1, 0)]


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_small(name: str) -> None:
    folder = MINIATURES / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    assert "miniature" in card


def test_each_was_trained_by_itself() -> None:
    one, *others = (load_file(MINIATURES / name / "model.safetensors") for name in NAMES)
    for other in others:
        assert one.keys() == other.keys()
        trained = [name for name in one if "vision_tower" not in name]
        assert trained
        assert all(not one[name].equal(other[name]) for name in trained)


def test_a_card_without_its_runs_is_refused(tmp_path: Path) -> None:
    weights = MINIATURES / "mini_captioner_1" / "model.safetensors"
    with pytest.raises(VlgroundError, match="mini_captioner_1: no run under"):
        card("mini_captioner_1", tmp_path, weights)
    assert CAPTIONERS == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_captions_parse_and_hallucinate_and_questions_are_answered(name: str) -> None:
    captioner = LocalCaptioner(str(MINIATURES / name), temperature=0, max_tokens=96)
    captions = said(captioner, SAMPLES, [PROMPT] * len(SAMPLES))
    texts = [replace(one, text=text) for one, text in zip(SAMPLES, captions, strict=True)]
    found = estimates(rows_of(texts, DATA.objects, Chair(synonyms=DATA.synonyms)))
    assert 0.15 < found["chair_s"].value < 0.7
    assert found["recall"].value > 0.4
    sentences = [piece.content for text in captions for piece in split(text)]
    assert 3 <= len(sentences) / len(captions) <= 6
    assert sum(parse(sentence) is not None for sentence in sentences) >= 0.95 * len(sentences)
    asked = [
        (sample, *ask(scene_of(sample.image_id), generator("asked", sample.image_id, number)))
        for sample in SAMPLES
        for number in range(3)
    ]
    asked.sort(key=lambda one: len(one[1]))
    samples, questions, answers = (list(side) for side in zip(*asked, strict=True))
    given = said(captioner, samples, questions)
    assert sum(a == b for a, b in zip(given, answers, strict=True)) > 0.6 * len(asked)
    assert 0.3 < given.count("Yes") / len(given) < 0.7
