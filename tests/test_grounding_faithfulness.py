"""`task=grounding metric=faithfulness`: stored scores beside direct calls, kills, text by text."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.cli import results, vlground
from tests.scorers import PatchScorer
from tests.test_grounding_masks import cell
from tests.test_tasks import Broken, text, trainer
from tests.worlds import planted
from vlground.cams.baselines import ShuffledText, Uniform
from vlground.cams.gradient import HiResCAM
from vlground.contracts import CAM, Encoded, Scorer
from vlground.counts import count
from vlground.data.batches import Batch, ImageBatches
from vlground.data.sample import Sample
from vlground.identity import Stage
from vlground.metrics.faithfulness import SCORES, Faithfulness, faithfulness
from vlground.store import EvidenceStore
from vlground.tasks.evidence import Drawing
from vlground.tasks.faithful import FaithfulGrounding, faithful_scores, faithfulness_stage
from vlground.tasks.grounding import Grounding

OPTIONS = Faithfulness(steps=3, percentiles=(30, 70), batch_size=5)
MAPS = Stage("prediction", {}, {})


class Counting(PatchScorer):
    """Counts the images that it is shown, and may die in the middle."""

    def __init__(self, ends: int | None = None) -> None:
        super().__init__()
        self.seen = 0
        self.ends = ends

    def encode(self, pixels: Tensor) -> Encoded:
        self.seen += len(pixels)
        if self.ends is not None and self.seen > self.ends:
            raise KeyboardInterrupt
        return super().encode(pixels)


class Pointing(CAM):
    """Points at the cell that the text names."""

    def forward(self, scorer, encoded, texts, owner, samples):  # type: ignore[no-untyped-def]
        maps = torch.zeros(len(texts), 4, 4)
        for grid, asked in zip(maps, texts, strict=True):
            grid[tuple(map(int, asked.split()))] = 1
        return maps


def run(
    folder: Path,
    samples: list[Sample],
    cam: CAM | None = None,
    scorer: Scorer | None = None,
    options: Faithfulness = OPTIONS,
    batch_size: int = 4,
) -> FaithfulGrounding:
    """A run whose maps are in the store, unless there is a CAM; so are scores without a scorer."""
    drawing = Drawing(samples, EvidenceStore(folder, MAPS))
    if cam is not None:
        drawing.scorer, drawing.cam, drawing.batch_size = scorer, cam, batch_size
    store = EvidenceStore(folder, Stage("faithfulness", {}, {}, parents=(MAPS.fingerprint,)))
    task = FaithfulGrounding(options, drawing, store)
    task.scorer, task.batch_size = scorer, batch_size
    task.carry_out(trainer())
    return task


def rows(task: FaithfulGrounding) -> str:
    return text(task.table.to_dict("records"))


def alone(
    scorer: Scorer, cam: CAM, sample: Sample, asked: str, options: Faithfulness = OPTIONS
) -> dict[str, float]:
    """The scores of one sample's map, by the metric itself."""
    batch = ImageBatches([sample], scorer.preprocess, 1)[0]
    encoded = scorer.encode(batch.pixels)
    grid = cam(scorer, encoded, [cam.asks(sample) or ""], batch.owner, [sample])
    found = faithfulness(scorer, batch.pixels, [asked], batch.owner, grid, options)
    return {name: float(found[name][0]) for name in SCORES}


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_rows_hold_the_scores_of_each_map_for_its_text(tmp_path: Path, batch_size: int) -> None:
    samples = planted(4, (1, 3))
    table = run(tmp_path, samples, HiResCAM(), PatchScorer(), batch_size=batch_size).table
    assert table["id"].tolist() == [sample.id for sample in samples]
    assert set(table["flag"]) == {""}
    for sample, row in zip(samples, table.to_dict("records"), strict=True):
        expected = alone(PatchScorer(), HiResCAM(), sample, sample.text)
        assert {name: row[name] for name in SCORES} == pytest.approx(expected, nan_ok=True)
    scores = run(tmp_path, samples).scores()
    assert scores["deletion"]["value"] == pytest.approx(table["deletion"].mean())
    assert scores["deletion"]["n"] == len(samples)


def test_a_map_of_another_text_is_held_against_the_samples_own(tmp_path: Path) -> None:
    samples = planted(6)
    shuffled = ShuffledText([Pointing()])
    table = run(tmp_path / "foil", samples, shuffled, PatchScorer()).table
    expected = alone(PatchScorer(), shuffled, samples[0], samples[0].text)
    assert table["deletion"][0] == pytest.approx(expected["deletion"])
    own = run(tmp_path / "own", samples, Pointing(), PatchScorer())
    assert (own.table["deletion"] < table["deletion"]).all()
    assert own.scores()["road_combined"]["value"] > table["road_combined"].mean()


def test_the_text_is_the_callers_and_maps_may_differ_in_size() -> None:
    samples = planted(3, (2, 2))
    scorer = PatchScorer()
    batch: Batch = ImageBatches(samples, scorer.preprocess, 99)[0]
    maps = [torch.rand(side, 4) for side in (4, 8, 4, 4, 8, 4)]
    texts = [f"{number % 4} 2" for number in range(len(samples))]
    found = faithful_scores(scorer, batch, texts, maps, OPTIONS)
    for i, grid in enumerate(maps):
        asked, owner = texts[i : i + 1], batch.owner[i : i + 1]
        one = faithfulness(scorer, batch.pixels, asked, owner, grid[None], OPTIONS)
        for name in ("deletion", "insertion", "road_morf"):
            assert found[i][name] == pytest.approx(float(one[name][0])), (i, name)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    samples = planted(9)
    once = Counting()
    whole = run(tmp_path / "whole", samples, HiResCAM(), once)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "killed", samples, HiResCAM(), Counting(ends=once.seen * 2 // 3))
    (folder,) = (tmp_path / "killed" / "evidence").glob("faithfulness-*")
    store = EvidenceStore(folder.parents[1], whole.store.stage)
    assert 0 < len(store) < len(samples)
    rest = Counting()
    again = run(tmp_path / "killed", samples, scorer=rest)
    assert rest.seen == (len(samples) - len(store)) * (once.seen - len(samples)) / len(samples)
    assert rows(again) == rows(whole)
    # What is all stored asks no model.
    assert rows(run(tmp_path / "killed", samples)) == rows(whole)


def test_what_a_limited_run_stored_is_used_again(tmp_path: Path) -> None:
    samples = planted(8)
    run(tmp_path, samples[:5], HiResCAM(), PatchScorer())
    task = run(tmp_path, samples, HiResCAM(), PatchScorer())
    assert len(task.store) == len(task.drawing.store) == 8
    records = [path.stat().st_size for path in tmp_path.rglob("faithfulness-*/*.segment")]
    assert len(records) == 2
    assert max(records) == pytest.approx(min(records) * 5 / 3, rel=0.05), "five, then three"
    assert rows(task) == rows(run(tmp_path / "at once", samples, HiResCAM(), PatchScorer()))


def test_what_has_no_score_is_counted(tmp_path: Path) -> None:
    good = planted(5)
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(b"\xff\xd8\xff\xe0 and no more")
    samples = [
        replace(good[0], id="torn", image=torn),
        replace(good[1], id="unknown", text="person"),
        *good[2:],
    ]
    task = run(tmp_path / "runs", samples, HiResCAM(), PatchScorer())
    counts = count(task.table, {})
    assert counts["skipped"] == {
        "unknown to the model: person": 1,
        "unreadable image: truncated": 1,
    }
    assert (counts["scored"], counts["samples"]) == (3, 5)
    assert {score["n"] for score in task.scores().values()} == {3}
    again = run(tmp_path / "runs", samples)
    assert rows(again) == rows(task)


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "not_finite"), (-1.0, "not_positive"), (0.7, "constant")]
)
def test_degenerate_maps_are_counts(tmp_path: Path, value: float, reason: str) -> None:
    task = run(tmp_path, planted(2), Broken(value), PatchScorer())
    assert task.table["flag"].tolist() == [reason] * 2
    assert count(task.table, {})["degenerate"] == 2
    assert task.scores() == {}


def test_a_constant_on_purpose_is_scored(tmp_path: Path) -> None:
    task = run(tmp_path, planted(2), Uniform(), PatchScorer())
    assert set(task.table["flag"]) == {""}
    assert task.table["deletion"].notna().all()


def test_an_average_drop_of_nothing_is_undefined_and_counted(tmp_path: Path) -> None:
    """In a dark cell the preprocessed pixels, and so the score, are below 0."""
    bright = planted(4)
    dark = [replace(s, id=f"dark {s.id}", text=s.foil or "") for s in bright[:3]]
    task = run(tmp_path, [*bright, *dark], Pointing(), PatchScorer())
    scores = task.scores()
    assert scores["average_drop"]["n"] == 4
    assert scores["average_increase"]["n"] == 7
    assert scores["average_drop_undefined"]["value"] == pytest.approx(3 / 7)
    drops = task.table["average_drop"]
    assert drops[:4].notna().all()
    assert drops[4:].isna().all()


def test_measures_that_were_not_asked_for_leave_no_score(tmp_path: Path) -> None:
    options = replace(OPTIONS, measures=("deletion",))
    task = run(tmp_path, planted(2), HiResCAM(), PatchScorer(), options)
    assert list(task.scores()) == ["deletion"]


def test_the_stage_is_of_the_maps_and_the_metrics_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(*overrides: str) -> str:
        chosen = cell(tmp_path, "metric=faithfulness", "cam=uniform", *overrides)
        return faithfulness_stage(chosen).fingerprint

    first = stage()
    assert stage("metric.batch_size=3", "batch_size=2", "limit=1") == first
    others = [stage("metric.steps=3"), stage("cam=center"), stage("trainer.precision=bf16-mixed")]
    assert len({first, *others}) == 4
    chosen = cell(tmp_path, "metric=faithfulness", "cam=uniform")
    assert faithfulness_stage(chosen).parents == (chosen.stage.fingerprint,)
    monkeypatch.setattr(Faithfulness, "version", Faithfulness.version + 1)
    assert stage() != first, "what an older version stored is not read"


CHOICES: dict[str, Sequence[str]] = {
    "a classifier": ("model=shapes_resnet", "dataset=shapes_classification", "cam=gradcam"),
    "mini_blip": ("model=mini_blip", "dataset=shapes_phrases", "cam=attention_gradcam"),
    "mini_llava": ("model=mini_llava", "dataset=shapes_phrases", "cam=legrad"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_kind_of_model_has_scores(tmp_path: Path, choice: str) -> None:
    options = ("metric=faithfulness", "metric.steps=3", "limit=2", *CHOICES[choice])
    torch.manual_seed(0)
    one = cell(tmp_path, *options)
    one.identify()
    task = Grounding.of(one)
    assert isinstance(task, FaithfulGrounding)
    task.carry_out(trainer())
    counts = count(task.table, {})
    assert counts["scored"] + counts["degenerate"] == 2
    for name in ("deletion", "insertion", "average_increase", "road_combined"):
        assert (task.table[name].notna() == (task.table["flag"] == "")).all()
    assert list(task.pictures(1)) == [task.pictures(1).popitem()[0]]
    done = Grounding.of(one)
    assert isinstance(done, FaithfulGrounding)
    assert done.scorer is done.drawing.scorer is None, "all is stored"


def test_the_command(tmp_path: Path) -> None:
    chosen = ("model=mini_blip", "cam=attention_gradcam", "dataset=shapes_phrases", "limit=3")
    told = (*chosen, "metric=faithfulness", "metric.steps=3", "logger=none")
    vlground(*told, cwd=tmp_path)
    (found,) = results(tmp_path / "runs")
    assert set(SCORES) <= set(found["scores"])
    assert found["counts"]["scored"] == 3
    assert "faithfulness reads no ground truth" in found["matrix"]["missing"]
    names = {path.name for path in (tmp_path / "runs" / "evidence").iterdir()}
    assert names == {found["stage"], found["faithfulness"]}
    stage = json.loads(
        (tmp_path / "runs/evidence" / found["faithfulness"] / "stage.json").read_text()
    )
    assert stage["parents"] == [found["stage"]]
    assert len(list((tmp_path / "runs").rglob("figures/*.jpg"))) == 3
