"""`task=grounding` with a mask: M is scored, beside loops over pixels; no map is drawn for it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import open_dict
from PIL import Image

from tests.test_tasks import Broken, means, run, trainer
from tests.worlds import planted
from vlground import plots
from vlground.cams.baselines import Uniform
from vlground.cell import Cell
from vlground.contracts import Mask
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import Frame
from vlground.identity import Stage
from vlground.masks.controls import Black, Complement, Full, RandomPlace
from vlground.masks.soft import Crop, Overlay, Sigmoid
from vlground.metrics import QGroundCAM
from vlground.run import CONF
from vlground.store import EvidenceStore
from vlground.tasks.grounding import Grounding

HEIGHT, WIDTH, ALPHA, BETA = 45, 70, 12.0, 0.55


def worlds(count: int = 3) -> tuple[list[Sample], list[np.ndarray]]:
    """Photos that are wider than high, with a box and a map each."""
    rng = np.random.default_rng(5)
    samples, maps = [], []
    for number in range(count):
        pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        x0, y0 = rng.integers(0, 30, 2).tolist()
        box = np.array([[x0, y0, x0 + rng.integers(9, 30), y0 + rng.integers(6, 15)]], dtype=float)
        samples.append(Sample(str(number), str(number), pixels, "0 0", boxes=box))
        maps.append(rng.normal(size=(5, 5)).astype(np.float32) - 0.5)
    return samples, maps


def scored(
    folder: Path, samples: list[Sample], maps: list[np.ndarray], mask: Mask | None, **options: str
) -> Grounding:
    """A run that finds these maps in the store, and so needs no model."""
    store = EvidenceStore(folder, Stage("prediction", {}, {}))
    frame = Frame.squash(HEIGHT, WIDTH, 64).to_list()
    for sample, grid in zip(samples, maps, strict=True):
        if sample.key not in store:
            evidence = {"map": grid, "frame": frame, "constant": False, "normalised": False}
            store.append([(sample.key, evidence)])
    store.close()
    return run(folder, samples, metric=QGroundCAM(**options), mask=mask)  # type: ignore[arg-type]


def relevant(grid: np.ndarray) -> np.ndarray:
    """Min-max, then Pillow's bicubic, then 0 to 1."""
    values = (grid - grid.min()) / (grid.max() - grid.min())
    heat = Image.fromarray(values.astype(np.float32)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(heat, dtype=np.float64), 0, 1)


def sigmoid(grid: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(ALPHA * (BETA - relevant(grid))))


def overlaid(grid: np.ndarray) -> np.ndarray:
    return relevant(grid) ** 2


def cropped(grid: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(sigmoid(grid) >= 0.5)
    rectangle = np.zeros((HEIGHT, WIDTH))
    rectangle[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
    return rectangle


def hidden(grid: np.ndarray) -> np.ndarray:
    return 1 - sigmoid(grid)


def by_pixels(shown: np.ndarray, box: np.ndarray) -> dict[str, float]:
    """Scores of M by their definitions, one pixel after the other."""
    x0, y0, x1, y1 = box.tolist()
    inside = outside = pixels = binary = both = 0.0
    best, ties, hits = -1.0, 0, 0
    for row in range(HEIGHT):
        for column in range(WIDTH):
            value = float(shown[row, column])
            within = x0 <= column + 0.5 < x1 and y0 <= row + 0.5 < y1
            inside, outside = inside + value * within, outside + value * (not within)
            pixels += within
            binary += value >= 0.5
            both += value >= 0.5 and within
            if value > best:
                best, ties, hits = value, 0, 0
            if value == best:
                ties, hits = ties + 1, hits + within
    return {
        "io_ratio": inside / (inside + outside),
        "iou_soft": (inside + 0.001) / (outside + pixels + 0.001),
        "iou_binary": (both + 0.001) / (binary + pixels - both + 0.001),
        "pointing_game": hits / ties,
    }


CASES = {
    "sigmoid": (Sigmoid(ALPHA, BETA), sigmoid),
    "overlay": (Overlay(), overlaid),
    "crop": (Crop(Sigmoid(ALPHA, BETA)), cropped),
    "complement": (Complement(Sigmoid(ALPHA, BETA)), hidden),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_m_pixel_by_pixel(tmp_path: Path, name: str) -> None:
    mask, brute = CASES[name]
    samples, maps = worlds()
    rows = scored(tmp_path, samples, maps, mask).table
    for place, (sample, grid) in enumerate(zip(samples, maps, strict=True)):
        expected = by_pixels(brute(grid), sample.boxes[0])
        found = {score: rows[score][place] for score in expected}
        assert found == pytest.approx(expected, abs=3e-4), sample.id
        assert rows["flag"][place] == ""


def test_m_is_not_normalised_again_whatever_the_metric_does_with_maps(tmp_path: Path) -> None:
    samples, maps = worlds()
    soft = Sigmoid(2.0, 0.9)  # 0.14 to 0.55: min-max would stretch it to 0 to 1
    first = scored(tmp_path, samples, maps, soft).table
    other = {"normalise": "max", "resize": "nearest", "resize_order": "normalise_first"}
    assert first.equals(scored(tmp_path, samples, maps, soft, **other).table)
    weights = 1 / (1 + np.exp(2 * (0.9 - relevant(maps[0]))))
    expected = by_pixels(weights, samples[0].boxes[0])
    assert first["iou_soft"][0] == pytest.approx(expected["iou_soft"], abs=3e-4)
    assert first["io_ratio"][0] == pytest.approx(expected["io_ratio"], abs=3e-4)


def test_without_a_mask_the_map_itself_is_scored(tmp_path: Path) -> None:
    samples, maps = worlds()
    assert (
        scored(tmp_path, samples, maps, None).table["io_ratio"]
        != scored(tmp_path, samples, maps, Sigmoid()).table["io_ratio"]
    ).all()


def test_black_shows_nothing_and_full_shows_all(tmp_path: Path) -> None:
    samples, maps = worlds()
    black = scored(tmp_path, samples, maps, Black())
    assert set(black.table["flag"]) == {"not_positive"}, "flagged, not a score of 0"
    assert black.table["degenerate"].all()
    assert black.scores() == {}
    full = scored(tmp_path, samples, maps, Full())
    assert set(full.table["flag"]) == {""}
    for score in ("io_ratio", "pointing_game", "iou_soft"):
        assert np.allclose(full.table[score], full.table["area"], atol=1e-6), score
    assert full.table["io_lift"].tolist() == [1.0] * len(samples)


def test_an_m_that_prefers_no_place_is_flagged(tmp_path: Path) -> None:
    """A sigmoid so flat that M is 0.5 everywhere is neither all of the image nor none of it."""
    samples, maps = worlds()
    flat = scored(tmp_path, samples, maps, Sigmoid(alpha=1e-12))
    assert set(flat.table["flag"]) == {"constant"}


@pytest.mark.parametrize(
    "mask",
    [Sigmoid(), Full(), Black(), Crop(Sigmoid())],
    ids=["sigmoid", "full", "black", "crop"],
)
@pytest.mark.parametrize(
    ("value", "reason"), [(torch.nan, "not_finite"), (0.0, "not_positive"), (0.7, "constant")]
)
def test_a_degenerate_map_stays_one_whatever_the_mask(
    tmp_path: Path, mask: Mask, value: float, reason: str
) -> None:
    samples = planted(2, size=50)
    task = run(tmp_path, samples, Broken(value), mask=mask)
    assert task.table["flag"].tolist() == [reason] * 2
    assert task.table["degenerate"].all()
    assert task.scores() == {}
    worst = run(tmp_path, samples, metric=QGroundCAM(empty_map="worst"), mask=mask).table
    assert worst["flag"].tolist() == [reason] * 2
    assert worst["io_ratio"].tolist() == [0.0] * 2


def test_a_map_that_is_constant_on_purpose_has_no_m(tmp_path: Path) -> None:
    samples = planted(2)
    assert means(run(tmp_path, samples, Uniform()))["io_ratio"] == 1 / 16
    assert set(run(tmp_path, samples, mask=Sigmoid()).table["flag"]) == {"constant"}


def test_a_flag_of_the_box_stands_before_one_of_the_map(tmp_path: Path) -> None:
    samples, maps = worlds(2)
    samples[0].boxes[:] = 900.0
    maps[0][:] = maps[1][:] = 0.0
    flags = scored(tmp_path, samples, maps, Sigmoid()).table["flag"].tolist()
    assert flags == ["box_empty", "not_positive"]


def test_a_random_place_depends_on_the_sample_and_not_on_its_batch(tmp_path: Path) -> None:
    samples, maps = worlds(6)
    mask = RandomPlace(Sigmoid(ALPHA, BETA), seed=3)
    whole = scored(tmp_path, samples, maps, mask).table
    single = scored(tmp_path, samples[4:5], maps[4:5], mask).table
    assert single["io_ratio"][0] == whole["io_ratio"][4]


def test_pictures_show_m(tmp_path: Path) -> None:
    samples, maps = worlds(2)
    maps[1][:] = 0.0  # of which there is no M
    sample, degenerate = samples
    task = scored(tmp_path, samples, maps, Sigmoid(ALPHA, BETA))
    drawn = np.asarray(task.pictures(2)[sample.id], dtype=float)
    photo = Image.fromarray(np.asarray(sample.image))
    expected = np.asarray(plots.overlay(photo, sigmoid(maps[0]), sample.boxes), dtype=float)
    assert np.abs(drawn - expected).max() <= 3
    plain = scored(tmp_path, samples, maps, None).pictures(2)
    assert np.abs(drawn - np.asarray(plain[sample.id], dtype=float)).max() > 30
    assert task.pictures(2)[degenerate.id] == plain[degenerate.id]


def cell(folder: Path, *overrides: str) -> Cell:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        told = [*overrides, "logger=none", f"runs={folder}"]
        config = compose("run", overrides=told, return_hydra_config=True)
    hydra = config.hydra
    with open_dict(config):
        del config["hydra"]
    return Cell.of(config, hydra)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("mask=sigmoid", "metric.resolution=input"), "metric.resolution=input: with a mask exp"),
        (("mask=full", "metric.resolution=native"), "metric.resolution=native: with a mask exp"),
        (("metric=judge_matrix",), "metric=judge_matrix: task=grounding is scored by metric=q_gr"),
        (("metric=faithfulness", "mask=crop"), "mask=crop: metric=faithfulness perturbs by the"),
        (("mask=sigmoid", "mask.beta=2"), "mask.beta=2: expected"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    tmp_path: Path, overrides: tuple[str, ...], told: str
) -> None:
    with pytest.raises(VlgroundError) as error:
        Grounding.of(cell(tmp_path, "limit=1", *overrides))
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_a_mask_is_part_of_a_runs_identity_and_not_of_its_maps(tmp_path: Path) -> None:
    options = ((), ("mask=sigmoid",), ("mask=sigmoid", "mask.beta=0.4"), ("mask=crop",))
    cells = [cell(tmp_path, "cam=uniform", "limit=1", *option) for option in options]
    for one in cells:
        one.identify()
    assert len({one.fingerprint for one in cells}) == len(cells)
    assert len({one.stage.fingerprint for one in cells}) == 1


def test_a_new_version_of_a_mask_makes_its_runs_new_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprints() -> list[str]:
        cells = [cell(tmp_path, "limit=1", f"mask={mask}") for mask in ("none", "sigmoid", "crop")]
        for one in cells:
            one.identify()
        return [one.fingerprint for one in cells]

    before = fingerprints()
    monkeypatch.setattr(Sigmoid, "version", 2)
    same = [a == b for a, b in zip(before, fingerprints(), strict=True)]
    assert same == [True, False, False], "crop is made of a sigmoid"


def test_a_sweep_over_beta_draws_no_map(tmp_path: Path) -> None:
    chosen = ("dataset=shapes_phrases", "model=mini_blip", "cam=attention_gradcam", "limit=6")
    sweep = [
        ("mask=none",),
        ("mask=overlay",),
        *(("mask=sigmoid", f"mask.beta={beta}") for beta in (0.4, 0.6, 0.8)),
    ]
    found = []
    for options in sweep:
        one = cell(tmp_path, *chosen, *options)
        one.identify()
        task = Grounding.of(one)
        assert isinstance(task, Grounding)
        assert (task.scorer is None) == (task.cam is None) == bool(found), "loaded once"
        task.carry_out(trainer())
        found.append(means(task))
        assert len(list((tmp_path / "evidence").rglob("*.segment"))) == 1
    assert len({score["io_ratio"] for score in found}) == len(sweep), "beta matters"
    assert len({score["accuracy"] for score in found}) == 1, "what the model decides is no map"
