"""A multiverse gives the scores of ordinary runs, and says of orders what is so."""

import random
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from tests.cli import results, vlground
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import Frame
from vlground.identity import Stage
from vlground.metrics import QGroundCAM
from vlground.metrics.statistics import bootstrap_means
from vlground.multiverse import blocks, figures, work
from vlground.multiverse.figure import specification_curves
from vlground.multiverse.gathering import Universe, gather
from vlground.multiverse.grid import SCORES, TOUCHES, Grid
from vlground.multiverse.ranks import Stability, blame, stabilities
from vlground.multiverse.scoring import image_sums, multiverse_scores
from vlground.multiverse.tables import options_block, order_of, pairs_block, stability_block
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.scoring import rows_of

NUMBERS: dict[str, tuple[float, ...]] = {
    "threshold": (0.5, 0.3),
    "tie_tolerance": (0.0, 0.1),
    "peak_threshold": (0.7, 0.95),
    "peak_distance": (50, 0, 1),
    "smooth": (0.001, 1.0),
}


def whole_grid(*without: str) -> Grid:
    """Every option with all its values; too many combinations to score, but not to draw from."""
    axes: dict[str, Any] = {}
    hints = get_type_hints(QGroundCAM)
    for field in fields(QGroundCAM):
        if any(field.name in touching for touching in TOUCHES.values()):
            kind = hints[field.name]
            values = get_args(kind) if get_origin(kind) is Literal else (False, True)
            values = NUMBERS.get(field.name, values)
            axes[field.name] = values[:1] if field.name in without else values
    axes["peak_unit"] = ("pixels",)  # 50 diagonals are refused
    return Grid("all", tuple(axes.items()))


def samples_and_maps(count: int, seed: int = 0) -> list[tuple[Sample, Evidence]]:
    """Photos of two sizes through three preprocessings; some maps are degenerate or constant."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Sample, Evidence]] = []
    for number in range(count):
        height, width = ((40, 60), (50, 30))[number % 2]
        make = (Frame.squash, Frame.letterbox, Frame.centre_crop)[number % 3]
        grid = rng.random((5, 5), dtype=np.float32) - 0.2
        if number % 7 == 3:
            grid[:] = (0.0, 0.5, np.nan)[number % 3]
        if number % 5 == 1:
            grid = np.round(grid, 1)  # ties
        corners = rng.uniform(0, 0.7, (1 + number % 2, 2)) * (width, height)
        boxes = np.concatenate([corners, corners + rng.uniform(3, 20, corners.shape)], axis=1)
        if number == 4:
            boxes = boxes + 1000  # beside the photo
        evidence: Evidence = {
            "map": grid,
            "frame": make(height, width, 48).to_list(),
            "constant": number % 7 == 3 and number % 2 == 0,
            "normalised": False,
        }
        name = f"{number}"
        blank = np.zeros((1, 1, 3), np.uint8)
        found.append((Sample(name, f"{number // 3}", blank, "red", boxes=boxes), evidence))
    return found


def plain(found: list[tuple[Sample, Evidence]], metric: QGroundCAM) -> dict[str, np.ndarray]:
    """What `task=grounding` gives, in the order of the samples."""
    parts = rows_of(found, metric)
    ids = np.concatenate([part["id"] for part in parts]).astype(int)
    return {name: np.concatenate([p[name] for p in parts])[np.argsort(ids)] for name in SCORES}


def drawn(grid: Grid, seed: int) -> QGroundCAM:
    pick = random.Random(seed)
    return replace(QGroundCAM(), **{name: pick.choice(values) for name, values in grid.axes})


@pytest.mark.parametrize("seed", range(12))
def test_a_setting_scores_what_a_run_of_it_scores_to_the_last_bit(seed: int) -> None:
    found = samples_and_maps(24, seed)
    grid = whole_grid("wdp_distance")
    setting = drawn(grid, seed)
    # The setting among others, with which it shares pictures, regions and sums.
    axes = [(name, (getattr(setting, name),)) for name, _ in grid.axes]
    varied = random.Random(seed).sample(range(len(axes)), 3)
    axes = [(name, grid.axes[i][1] if i in varied else one) for i, (name, one) in enumerate(axes)]
    few = Grid("few", tuple(axes))
    ours = multiverse_scores([(sample.boxes, evidence) for sample, evidence in found], few)
    expected = plain(found, setting)
    assert np.isfinite(expected["iou_soft"]).sum() > 3
    for name in SCORES:
        place = few.place(name, setting)
        assert place is not None
        np.testing.assert_array_equal(ours[name][:, place], expected[name], err_msg=name)


@pytest.mark.parametrize("distance", ["euclidean", "chebyshev"])
def test_sums_beside_another_distance_add_up_in_another_precision(distance: str) -> None:
    found = samples_and_maps(24)
    grid = Grid("few", (("wdp_distance", ("manhattan", distance)),))
    ours = multiverse_scores([(sample.boxes, evidence) for sample, evidence in found], grid)
    expected = plain(found, QGroundCAM(wdp_distance=distance))  # type: ignore[arg-type]
    for name in SCORES:  # those that the option does not touch are scored beside manhattan
        own = ours[name][:, -1]
        exact = {"rtol": 0.0} if name.startswith("wdp") else {"rtol": 1e-6}
        np.testing.assert_allclose(own, expected[name], err_msg=name, **exact)


def test_strictness_counts_where_a_pixel_lies_on_the_threshold() -> None:
    evidence: Evidence = {
        "map": np.array([[1.0, 0.5], [0.0, 0.25]], dtype=np.float32),
        "frame": Frame.squash(2, 2, 2).to_list(),
        "constant": False,
        "normalised": False,
    }
    grid = Grid("few", (("threshold_strict", (False, True)), ("resolution", ("native",))))
    scores = multiverse_scores([(np.array([[0.0, 0.0, 1.0, 1.0]]), evidence)], grid)
    np.testing.assert_allclose(scores["iou_binary"], [[1.001 / 2.001, 1]])


def test_every_option_touches_what_is_said_and_nothing_else() -> None:
    found = samples_and_maps(24)
    base = QGroundCAM(peak_distance=1, tie_tolerance=0.1, resize="bicubic")
    before = plain(found, base)
    changed: dict[str, set[str]] = {name: set() for name in SCORES}
    for option, values in whole_grid().axes:
        for value in (*values, "diagonal") if option == "peak_unit" else values:
            if value != getattr(base, option):
                after = plain(found, replace(base, **{option: value}))
                for name in SCORES:
                    if not np.allclose(before[name], after[name], rtol=1e-5, equal_nan=True):
                        changed[name].add(option)
    none: dict[str, set[str]] = {name: set() for name in SCORES}
    assert {name: changed[name] - {*TOUCHES[name]} for name in SCORES} == none
    rare = {"threshold_strict", "resize_order", "resize_clip"}  # of few maps they change no score
    assert {name: {*TOUCHES[name]} - changed[name] - rare for name in SCORES} == none


def test_image_sums_give_the_means_of_runs_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2000, 5))  # so many that the order of addition shows
    values[rng.random(values.shape) < 0.2] = np.nan
    images = rng.integers(0, 30, 2000).astype(str)
    parts = [image_sums({"x": values[images == image]}) for image in sorted(set(images))]
    sums, counts = (np.stack([part[f"{kind}/x"] for part in parts]) for kind in ("sums", "counts"))
    means = sums.sum(axis=0) / counts.sum(axis=0)
    columns = {str(column): values[:, column] for column in range(5)}
    assert means.tolist() == [one.value for one in bootstrap_means(columns, list(images)).values()]


class TestGrid:
    def test_of_an_experiment_has_its_axes_and_the_default_first(self) -> None:
        peaks = dict(Grid.of("q_groundcam_peaks").axes)
        assert peaks["peak_distance"][0] == 50
        assert set(peaks["resize_clip"]) == {False, True}
        for name in (None, "q_groundcam_peaks", "q_groundcam_wdp"):
            grid = Grid.of(name)
            assert grid.settings("io_ratio")[0] == QGroundCAM() == grid.default

    def test_of_one_that_sweeps_none_is_the_default_one(self) -> None:
        assert Grid.of("q_groundcam_table1") == Grid.of(None) == Grid.of("q_groundcam_multiverse")

    def test_of_another_metric_is_refused_in_one_line(self) -> None:
        with pytest.raises(VlgroundError, match=r"metric\.pool: its sweep spans no multiverse"):
            Grid.of("vigor_normalisation")

    def test_settings_that_give_the_same_numbers_are_one(self) -> None:
        grid = Grid.of(None)
        own = {"normalise": 2, "resize": 2, "resize_order": 2, "box_edge": 2, "empty_map": 2}
        pictures = own["normalise"] * (2 * own["resize"] * own["resize_order"] + 1)
        assert len(grid.settings("io_ratio")) == pictures * own["box_edge"] * own["empty_map"]
        peaks = Grid.of("q_groundcam_peaks")
        assert len(peaks.settings("io_ratio")) == 6  # bilinear, bicubic ± clip; nearest; native
        native = replace(QGroundCAM(), resolution="native")
        clipped = replace(native, resize="bicubic", resize_clip=True)
        assert peaks.place("io_ratio", native) == peaks.place("io_ratio", clipped)

    def test_neighbours_differ_in_the_option_alone(self) -> None:
        grid = Grid.of("q_groundcam_wdp")
        settings = grid.settings("wdp_soft")
        for here, near in enumerate(grid.neighbours("wdp_soft", "wdp_unit")):
            (other,) = near
            flipped = {"pixels": "diagonal", "diagonal": "pixels"}[settings[here].wdp_unit]
            assert settings[other] == replace(settings[here], wdp_unit=flipped)


def universe(values: dict[str, np.ndarray], score: str = "io_ratio") -> Universe:
    """Models with one row an image: `(images, settings)` scores."""
    sums = []
    for rows in values.values():
        images = [f"{number:03}" for number in range(len(rows))]
        counts = {score: np.ones(rows.shape, dtype=int)}
        sums.append(work.Sums(images, {score: rows}, counts, len(rows), Counter()))
    return Universe("here", list(values), [{}] * len(values), sums)


TIES = Grid("ties", (("tie", ("expected", "first")), ("resolution", ("original", "native"))))
# Of TIES: expected original, expected native, first original, first native.


class TestRanks:
    def found(self, score: str = "pointing_game") -> Stability:
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.2, (100, 1))
        values = {
            "good": 0.8 + 0 * noise + np.zeros(4),
            "fair": np.array([0.5, 0.5, 0.9, 0.9]) + noise - noise.mean(),
            "same": np.array([0.5, 0.5, 0.9, 0.9]) + rng.normal(0, 0.2, (100, 1)),
        }
        (one,) = stabilities(universe(values, score), [{}, {}, {}])
        return one

    def test_an_option_that_turns_the_order_is_blamed_and_no_other(self) -> None:
        one = self.found()
        assert one.same == 0.5
        assert blame(TIES, one) == {"tie": (1.0, 1.0), "resolution": (0.0, 0.0)}
        assert one.first[0] == 0.5

    def test_tau_of_three_models_with_two_pairs_turned(self) -> None:
        np.testing.assert_allclose(self.found().tau, [1, 1, -1 / 3, -1 / 3])

    def test_a_difference_within_noise_is_undecided_and_one_beyond_it_is(self) -> None:
        one = self.found()
        assert one.decided is not None
        by_pair = {
            tuple(one.models[i] for i in pair): decided.tolist()
            for pair, decided in zip(one.pairs, one.decided, strict=True)
        }
        assert by_pair["good", "fair"] == [1, 1, -1, -1]
        assert by_pair["fair", "same"] == [0] * 4

    def test_lower_is_better_where_the_score_says_so(self) -> None:
        assert (self.found("wdp_soft").signs == -self.found().signs).all()
        letters = {"good": "A", "fair": "B", "same": "C"}
        assert order_of(self.found(), letters).startswith("A > ")
        assert order_of(self.found("wdp_soft"), letters).endswith(" > A")

    def test_few_images_decide_nothing(self) -> None:
        (one,) = stabilities(universe({"a": np.ones((5, 4)), "b": np.zeros((5, 4))}), [{}, {}])
        assert one.decided is None
        assert one.same == 1

    def test_equal_models_have_no_order_and_no_tau(self) -> None:
        (one,) = stabilities(universe({"a": np.ones((30, 4)), "b": np.ones((30, 4))}), [{}, {}])
        assert np.isnan(one.tau).all()
        assert order_of(one, {"a": "A", "b": "B"}) == "no order: all models are equal"

    def test_the_published_order_is_held_against_every_setting(self) -> None:
        rows = {"a": np.array([[0.7, 0.4, 0.4, 0.4]] * 30), "b": np.full((30, 4), 0.5)}
        told = [{"io_ratio": 0.9}, {"io_ratio": 0.2}]
        (one,) = stabilities(universe(rows), told)
        assert one.as_published == 0.25
        (unknown,) = stabilities(universe(rows), [{"io_ratio": 0.9}, {}])
        assert unknown.as_published is None

    def test_tables_say_it(self) -> None:
        one = self.found()
        letters = {"good": "A", "fair": "B", "same": "C"}
        whole = stability_block([one], letters, TIES)
        row = dict(zip(whole.heads, whole.rows[0], strict=True))
        assert (row["same"], row["settings"], row["τ"]) == ("50 %", "4", "-0.33 0.33")
        assert row["undecided"] == "33 %"  # B and C, in every setting
        assert row["turned"] == "33 %"  # A and B, A and C, in half of the settings
        swapped = {row[2]: row[3:] for row in pairs_block([one], letters).rows}
        assert swapped["A > B"] == ["50 %", "50 %", "50 %", "0 %"]
        assert set(swapped) == {"A > B", "A > C"}
        named = {row[0]: row for row in options_block([one], TIES).rows}
        assert named["tie"][1:3] == ["expected, first", "100 % (100 %)"]

    def test_the_curves_are_drawn(self) -> None:
        picture = np.asarray(specification_curves([self.found()], TIES))
        assert picture.shape[2] == 3
        assert (picture == (31, 119, 180)).all(axis=2).sum() > 50  # the first model's line


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models' maps of 40 samples, scored with options that are not the default."""
    folder = tmp_path_factory.mktemp("multiverse")
    common = ["dataset=shapes_phrases", "dataset.samples=40", "logger=none", "runs=runs"]
    cells = ["model=mini_blip,mini_albef", "cam=attention_gradcam"]
    settings = ["metric.tie=first", "metric.resize=bicubic", "metric.normalise=max"]
    vlground("-m", *common, *cells, *settings, cwd=folder)
    return folder / "runs"


class TestStored:
    """Runs of the command, then the same settings from what it stored."""

    def test_means_are_those_of_the_runs(self, runs: Path) -> None:
        grid = Grid.of(None)
        (one,), left_out = gather(runs, results(runs), grid)
        assert left_out == []
        assert sorted(one.models) == ["mini_albef", "mini_blip"]
        for run in results(runs):
            sums = one.sums[one.models.index(run["choices"]["model"])]
            told = {k: v for k, v in run["identity"]["metric"].items() if k != "_target_"}
            for name in SCORES:
                place = grid.place(name, QGroundCAM(**told))
                assert place is not None
                mean = sums.sums[name][:, place].sum() / sums.counts[name][:, place].sum()
                assert mean == pytest.approx(run["scores"][name]["value"], rel=1e-14), name

    def test_blocks_and_figures_and_nothing_is_scored_twice(self, runs: Path) -> None:
        stability, pairs, options = blocks(runs, results(runs))
        assert [row[1] for row in stability.rows][:2] == ["PG ↑", "PG unc. ↓"]
        assert stability.notes[0] in (
            "A: mini_albef, B: mini_blip.",
            "A: mini_blip, B: mini_albef.",
        )
        assert pairs.heads[-1] == "undecided"
        forms, _, _ = blocks(runs, results(runs), "q_groundcam_wdp")
        assert [row[1] for row in forms.rows] == ["WDP* soft ↓", "WDP* bin. ↓"]
        assert {row[0] for row in options.rows} == {name for name, _ in Grid.of(None).axes}
        segments = sorted(runs.glob("evidence/multiverse-*/*.segment"))
        assert len(segments) == 4  # two models, two grids
        assert set(figures(runs, results(runs))) == {"multiverse_shapes_phrases"}
        assert sorted(runs.glob("evidence/multiverse-*/*.segment")) == segments

    def test_what_cannot_be_ranked_is_said(self, runs: Path) -> None:
        told = results(runs)
        baseline = {**told[0], "choices": {**told[0]["choices"], "cam": "uniform"}}
        judged = {**told[0], "task": "explanation"}
        one = [run for run in told if run["choices"]["model"] == "mini_blip"]
        (block,) = blocks(runs, [*one, baseline, judged])
        assert block.rows == []
        assert "runs left out, of baselines, which are no models: 1" in block.notes
        assert "runs left out, not of task=grounding: 1" in block.notes
        assert "shapes_phrases: one model, nothing to rank" in block.notes

    def test_maps_that_are_gone_are_said(self, runs: Path, tmp_path: Path) -> None:
        run = results(runs)[0]
        stage = Stage(**run["identity"]["stage"])
        copy = tmp_path / "runs"
        (copy / "grounding").mkdir(parents=True)
        for folder in (runs / "grounding").iterdir():
            (copy / "grounding" / folder.name).symlink_to(folder)
        half = EvidenceStore(runs, stage)
        kept = EvidenceStore(copy, stage)
        kept.append([(key, half[key]) for key in [*half._places][:15]])
        kept.close()
        (block,) = blocks(copy, [run])
        assert any("25 of 40 maps are not stored; run it again" in note for note in block.notes)


@pytest.mark.slow
def test_processes_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = samples_and_maps(30)
    source = Stage("prediction", {}, {"seed": 0})
    samples = [sample for sample, _ in found]
    for folder in ("one", "several"):
        store = EvidenceStore(tmp_path / folder, source)
        store.append([(sample.key, evidence) for sample, evidence in found[:-1]])
        store.append([(samples[-1].key, {"skipped": "unknown to the model: red"})])
        store.close()
    grid = Grid.of("q_groundcam_wdp")
    jobs = [
        work.job_of(tmp_path / folder, source, grid, "data", samples)
        for folder in ("one", "several")
    ]
    (one,) = work.carry_out(jobs[:1])
    monkeypatch.setattr(work, "_FEW", 0)
    monkeypatch.setattr(work, "_CHUNK", 4)
    (several,) = work.carry_out(jobs[1:])
    assert one.skipped == several.skipped == {"unknown to the model: red": 1}
    for name in SCORES:
        np.testing.assert_array_equal(one.sums[name], several.sums[name])
        np.testing.assert_array_equal(one.counts[name], several.counts[name])
