"""The shipped captioner: it speaks in sentences that parse, and it hallucinates.

Whether it answers questions is not asserted: it hardly does, see its card.
"""

from dataclasses import replace

import pytest

from vlground.captioners.local import LocalCaptioner
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions
from vlground.data.shapes.claims import parse
from vlground.metrics.chair import Chair, estimates, rows_of
from vlground.rewards.sentences import split
from vlground.run import CONF

FOLDER = CONF.parent / "src" / "vlground" / "miniatures" / "mini_captioner"
PROMPT = "Describe this image in detail."
DATA = ShapesCaptions(96, "test", "in", "plain", 96, seed=0)
SAMPLES = [DATA[index] for index in range(len(DATA))]


@pytest.fixture(scope="module")
def greedy() -> LocalCaptioner:
    return LocalCaptioner(str(FOLDER), temperature=0, max_tokens=96)


def said(captioner: LocalCaptioner, prompts: list[str]) -> list[Sample]:
    written = captioner.caption(SAMPLES, prompts, 1, 0)
    pairs = zip(SAMPLES, written, strict=True)
    return [replace(sample, text=caption.text) for sample, (caption,) in pairs]


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5e6
    assert (FOLDER / "README.md").is_file()


def test_its_captions_parse_and_hallucinate_as_its_card_says(greedy: LocalCaptioner) -> None:
    captions = said(greedy, [PROMPT] * len(SAMPLES))
    found = estimates(rows_of(captions, DATA.objects, Chair(synonyms=DATA.synonyms)))
    assert found["chair_s"].value > 0.15
    assert found["chair_i"].value < 0.35
    assert found["recall"].value > 0.4
    sentences = [piece.content for caption in captions for piece in split(caption.text)]
    assert sum(parse(sentence) is not None for sentence in sentences) >= 0.95 * len(sentences)
