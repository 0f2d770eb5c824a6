"""The shipped miniatures: what their cards promise, on a part of the test split that they quote."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.test_config import composed
from vlground.config import build, build_scorer
from vlground.contracts import CAM, Scorer
from vlground.data.batches import image_loader
from vlground.data.sample import Sample
from vlground.metrics import QGroundCAM
from vlground.run import CONF
from vlground.tasks.scoring import score_maps

FOLDER = CONF.parent / "src" / "vlground" / "miniatures"
# Lower than the cards' figures by more than chance on 600 phrases: pointing game of each, and the
# bar of matching accuracy.
POINTING = {"mini_blip": 0.70, "mini_albef": 0.80, "mini_albef_amc": 0.90}
ACCURACY = 0.96


def phrases(option: str = "shapes_phrases", count: int = 600) -> list[Sample]:
    dataset = build({**composed(f"dataset={option}")["dataset"], "samples": count})
    return [dataset[index] for index in range(len(dataset))]


def pointing_game(scorer: Scorer, cam: CAM, samples: list[Sample]) -> float:
    hits = []
    for batch in image_loader(samples, scorer.preprocess, batch_size=64, num_workers=0):
        texts = [cam.asks(sample) or "" for sample in batch.samples]
        with torch.no_grad():
            encoded = scorer.encode(batch.pixels)
        maps = cam(scorer, encoded, texts, batch.owner, batch.samples)
        boxes = [sample.boxes for sample in batch.samples]
        hits += score_maps(maps, batch.frames[0], boxes, QGroundCAM())["pointing_game"].tolist()
    return sum(hits) / len(hits)


@pytest.mark.parametrize("name", POINTING)
def test_a_miniature_matches_and_grounds_unseen_phrases(name: str) -> None:
    scorer, samples = build_scorer(composed(f"model={name}")["model"]), phrases()
    right = []
    for batch in image_loader(samples, scorer.preprocess, batch_size=64, num_workers=0):
        with torch.no_grad():
            encoded = scorer.encode(batch.pixels)
            for texts, fits in (
                ([sample.text for sample in batch.samples], True),
                ([sample.foil or "" for sample in batch.samples], False),
            ):
                match = scorer.match(encoded, texts, batch.owner)
                assert match is not None
                right += ((match >= 0.5) == fits).tolist()
    assert sum(right) / len(right) >= ACCURACY
    found = {
        option: pointing_game(scorer, build(composed(f"cam={option}")["cam"]), samples)
        for option in ("attention_gradcam", "shuffled_text")
    }
    assert found["attention_gradcam"] >= POINTING[name]
    assert found["shuffled_text"] < found["attention_gradcam"] - 0.3


@pytest.mark.parametrize("name", POINTING)
def test_a_miniature_is_small_in_half_precision_and_has_a_card(name: str) -> None:
    weights = FOLDER / name / "model.safetensors"
    assert weights.stat().st_size < 3e6
    with safe_open(str(weights), "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}
    card = Path(FOLDER / name / "README.md").read_text()
    for told in ("Recipe", "seed 0", "Pointing game", "Matching accuracy", "not the paper's"):
        assert told in card, told


def test_amc_grounds_better_than_the_model_it_was_tuned_from() -> None:
    samples = phrases()
    cam = build(composed("cam=attention_gradcam")["cam"])
    plain, tuned = (
        pointing_game(build_scorer(composed(f"model={name}")["model"]), cam, samples)
        for name in ("mini_albef", "mini_albef_amc")
    )
    assert tuned > plain
