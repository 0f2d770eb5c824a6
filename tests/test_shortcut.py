"""`task=shortcut`: planted classifiers that see nothing but the dot, or all but it; the search."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.test_config import composed
from vlground.cams.gradient import GradCAM
from vlground.data.shapes.classification import ShapesClassification
from vlground.data.shapes.scene import SHAPES
from vlground.errors import VlgroundError
from vlground.identity import Stage
from vlground.metrics.statistics import Estimate
from vlground.models.classifier import ImageClassifier
from vlground.preprocess import Preprocess
from vlground.shortcuts.candidates import Candidate, Seen, by_looks, by_place
from vlground.shortcuts.options import Search
from vlground.shortcuts.trials import Trial, blanked, confirm, elsewhere, suspect, trials
from vlground.store import EvidenceStore
from vlground.tasks.blanking import Blanking
from vlground.tasks.pairs import pairs_of
from vlground.tasks.shortcut import Shortcut

STAR, CIRCLE = SHAPES.index("star"), SHAPES.index("circle")
SIDE = 48


class RedEye(nn.Module):
    """Logits of eight shapes from how much bright red there is; circle without any.

    Args:
        gain: Of star, a unit of redness; 0 is blind.
    """

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 2, 1)
        self.cells = nn.AvgPool2d(8)
        self.head = nn.Linear(2, len(SHAPES))
        with torch.no_grad():
            self.look.weight.copy_(torch.tensor([[1.0, -1, -1], [0.1, 0.1, 0.1]]).view(2, 3, 1, 1))
            self.look.bias.copy_(torch.tensor([-0.75, 0.0]))
            self.head.weight.zero_()
            self.head.weight[STAR, 0] = gain
            self.head.weight[:, 1] = 1e-3
            self.head.bias.zero_()
            self.head.bias[CIRCLE] = 1

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.cells(self.look(pixels).relu())
        return self.head(cells.mean(dim=(2, 3)))


def classifier(gain: float) -> ImageClassifier:
    plain = Preprocess(96, mean=(0, 0, 0), std=(1, 1, 1))
    return ImageClassifier(RedEye(gain), plain, layer="cells", classes=list(SHAPES)).eval()


def carry_out(folder: Path, scorer: ImageClassifier | None, samples: int = 32) -> Shortcut:
    """Run the task; without a scorer everything must be stored."""

    def load() -> ImageClassifier:
        assert scorer is not None, "what is stored is asked again"
        return scorer

    node = composed("task=shortcut", "dataset=shapes_classification", "dataset.poison=1")
    node["dataset"]["samples"] = samples
    data: Any = ShapesClassification(samples, "test", "plain", 96, 0, 1.0)
    drawn = [data[index] for index in range(samples)]
    stage = Stage("shortcut", {}, {})
    blanking = Blanking(EvidenceStore(folder, Stage("blanking", {}, {})), load)
    pairs = pairs_of(drawn, node["dataset"])
    task = Shortcut(node["task"], pairs, EvidenceStore(folder, stage), blanking)
    task.scorer, task.cam = scorer, GradCAM() if scorer else None
    task.carry_out(
        lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
    )
    return task


def test_a_classifier_that_sees_only_the_dot(tmp_path: Path) -> None:
    task = carry_out(tmp_path, classifier(gain=3000))
    rows, scores = task.table, task.scores()
    assert (rows["predicted_without"] == "circle").all()
    assert (rows["predicted_with"] == "star").all()
    assert (rows["into"] == 1).all()
    assert scores["flip_into"]["value"] == scores["flip_rate"]["value"] == 1
    assert scores["accuracy_without"]["value"] == scores["accuracy_with"]["value"] == 1 / 8
    # A disc of 10 pixels: 52 to 78 of them up to a quarter above the least redness that counts.
    assert 3000 * 0.15 * 52 / 96**2 < scores["delta_logit"]["value"] < 3000 * 0.25 * 78 / 96**2
    assert task.details()["shortcut"]["p"] < 1e-3
    assert scores["mass_lift"]["value"] > 15, "the whole map is in the dot"
    assert scores["mass_lift_without"]["value"] == pytest.approx(1, abs=0.1), "the control"
    area = rows["area"].to_numpy()
    assert np.allclose(area, 100 / 96**2)
    assert np.allclose(rows["lift"], rows["mass"] / area)


def test_a_blind_classifier_relies_on_nothing(tmp_path: Path) -> None:
    task = carry_out(tmp_path, classifier(gain=0))
    scores = task.scores()
    assert abs(scores["delta_logit"]["value"]) < 1e-4
    assert scores["flip_rate"]["value"] == scores["flip_into"]["value"] == 0
    assert not any(one.confirmed for one in task.suspects)
    assert scores["suspects"]["value"] == 0


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shortcut]:
    folder = tmp_path_factory.mktemp("searched")
    return folder, carry_out(folder, classifier(gain=3000), samples=96)


def test_the_search_finds_the_dot_without_being_told_where_it_is(
    searched: tuple[Path, Shortcut],
) -> None:
    _, task = searched
    (found,) = [one for one in task.details()["shortcut"]["suspects"] if one["confirmed"]]
    assert (found["label"], found["hit"], found["covers_artefact"]) == ("star", True, 1.0)
    assert found["effect"]["value"] > 0.5
    assert found["p"] < 0.01
    assert task.scores()["suspects"]["value"] == 1
    strips = task.pictures(2)
    assert found["trials"][0] in strips
    assert len(strips) == 3


def test_what_is_stored_is_not_asked_again(searched: tuple[Path, Shortcut]) -> None:
    folder, made = searched
    again = carry_out(folder, None, samples=96)
    assert again.table.equals(made.table)
    assert again.details() == made.details()


def test_the_evidence_is_of_one_target_and_mask(tmp_path: Path) -> None:
    task = carry_out(tmp_path, classifier(gain=0), samples=8)
    sample = task.samples[0]
    before = task.key(sample)
    task.target = "ring"
    assert task.key(sample) != before


def test_data_without_an_artefact_are_refused() -> None:
    node = composed("dataset=photos")["dataset"]
    with pytest.raises(VlgroundError, match=r"^dataset: expected .*dataset=shapes_classification"):
        pairs_of([], node)


# The search by itself.


def seen(number: int, label: str, relevance: np.ndarray, features: np.ndarray | None) -> Seen:
    near = np.zeros((SIDE, SIDE), dtype=bool)
    near[18:30, 18:30] = True
    return Seen(f"{label}/{number}", label, relevance, relevance >= 0.6, near, features)


def noise(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return np.kron(rng.random((12, 12)), np.ones((4, 4))) * 0.5


def corner(number: int) -> np.ndarray:
    """Noise, and a mark at the bottom right."""
    relevance = noise(number)
    relevance[36:, 36:] = 0.9 + 0.1 * relevance[36:, 36:]
    return relevance


OPTIONS = Search(permutations=200)


def test_a_place_where_one_class_looks_is_suspected_and_no_other() -> None:
    shown = [seen(n, "a", corner(n), None) for n in range(24)]
    shown += [seen(n, "b", noise(100 + n), None) for n in range(24)]
    (found,) = by_place(shown, OPTIONS)
    assert (found.label, found.where()) == ("a", ["bottom right"])
    assert sorted(found.regions) == list(range(24))
    expected = np.zeros((SIDE, SIDE), dtype=bool)
    expected[36:, 36:] = True
    assert (found.regions[0] == expected).all(), "grown to all of the mark, and no further"
    both = [replace(one, relevance=corner(n)) for n, one in enumerate(shown)]
    assert by_place(both, OPTIONS) == [], "what all classes have is no excess"


def test_the_object_is_never_suspected_wherever_it_lies() -> None:
    shown = [seen(n, "a", corner(n), None) for n in range(24)]
    shown += [seen(n, "b", noise(100 + n), None) for n in range(24)]
    near = np.zeros((SIDE, SIDE), dtype=bool)
    near[36:42, 36:] = True
    shown[3] = replace(shown[3], near=near)
    (found,) = by_place(shown, OPTIONS)
    assert found.regions[3].sum() == found.regions[0].sum() / 2
    assert not (found.regions[3] & near).any()


def test_kinds_of_crops_are_suspected_apart_and_unstable_ones_together() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat([[0.0, 9.0], [9.0, 0.0]], 20, axis=0) + rng.normal(0, 0.1, (40, 2))
    shown = [seen(n, "a", corner(n), groups[n]) for n in range(40)]
    first, second = by_looks(shown, OPTIONS)
    assert {frozenset(first.regions), frozenset(second.regions)} == {
        frozenset(range(20)),
        frozenset(range(20, 40)),
    }
    spread = [replace(one, features=rng.normal(size=2)) for one in shown]
    (whole,) = by_looks(spread, replace(OPTIONS, stability=0.99))
    assert len(whole.regions) == 40
    assert not (whole.regions[0] & shown[0].near).any()


def test_the_control_is_as_large_and_lies_on_nothing_that_is_taken() -> None:
    one = seen(0, "a", corner(0), None)
    region = one.shown & ~one.near
    (trial,) = trials(Candidate("looks", "a", {0: region}), [one], OPTIONS)
    assert trial.control.sum() == region.sum()
    assert not (trial.control & (region | one.near)).any()
    (again,) = trials(Candidate("looks", "a", {0: region}), [one], OPTIONS)
    assert (again.control == trial.control).all()
    full = np.ones_like(region)
    assert elsewhere(region, full, np.random.default_rng(0)) is None


def test_blanking_changes_what_is_told_and_takes_it_from_around() -> None:
    data: Any = ShapesClassification(8, "test", "plain", 96, 0, dot="always")
    sample, box = data[0], data.artefact(0).astype(int)
    mask = np.zeros((96, 96), dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    (picture,) = blanked([(sample, mask)])
    image = np.asarray(sample.image)
    assert (picture[~mask] == image[~mask]).all()
    redness = picture[mask].astype(int) @ [2, -1, -1] / 2
    assert redness.max() < 60 < (image[mask].astype(int) @ [2, -1, -1] / 2).max(), "the dot is gone"


def tried(lost: float, n: int = 16) -> tuple[list[Trial], np.ndarray, np.ndarray, np.ndarray]:
    """Trials that take so much from a lead of 10 logits; blanking elsewhere takes 1."""
    empty = np.zeros((2, 2), dtype=bool)
    whole = np.tile([7.0, -3.0, -3.0], (n, 1))
    elsewhere_ = whole - [1, 0, 0]
    return (
        [Trial(str(k), empty, empty) for k in range(n)],
        whole,
        elsewhere_ - [lost, 0, 0],
        elsewhere_,
    )


def test_a_loss_beyond_that_of_the_control_confirms() -> None:
    candidate = Candidate("place", "a", {0: np.ones((3, 3), dtype=bool)})
    small, large, few = (
        suspect(candidate, rows, whole, without, control, OPTIONS)
        for rows, whole, without, control in (tried(0.5), tried(4.0), tried(4.0, n=3))
    )
    assert large.effect.value == pytest.approx(0.4)
    assert large.logit.value == pytest.approx(4)
    assert large.elsewhere.value == pytest.approx(1)
    found = confirm([small, few, large], OPTIONS)
    assert [one.confirmed for one in found] == [True, False, False]
    assert [one.effect.value for one in found] == pytest.approx([0.4, 0.4, 0.05])
    one_sided = 1 / (10_000 + 1) / 2  # of 16 images, all signs equal: no draw is as extreme
    assert found[0].p is not None
    assert 3 * one_sided <= found[0].p < 0.001
    assert found[2].p == pytest.approx(1, abs=1e-3), "surely less than the least effect"


def test_numbers_that_are_not_defined_are_none_in_json() -> None:
    candidate = Candidate("place", "a", {0: np.ones((3, 3), dtype=bool)})
    rows, whole, without, control = tried(4.0)
    one = suspect(candidate, rows, whole, without, control, OPTIONS)
    missing = replace(one, effect=Estimate(float("nan"), None, None, 0))
    assert missing.to_json()["effect"] is None
    assert missing.to_json()["trials"][0] == "0"
