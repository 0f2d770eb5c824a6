"""The grounding task inside Lightning: planted evidence, batches, processes, bad input."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from tests.cli import ENVIRONMENT, vlground
from tests.scorers import PatchScorer
from tests.worlds import planted
from vlground.cams.baselines import Center, Random, ShuffledText, Uniform
from vlground.cams.gradient import HiResCAM
from vlground.contracts import CAM, Mask, Scorer
from vlground.data.sample import Sample
from vlground.identity import Stage
from vlground.metrics import QGroundCAM
from vlground.store import EvidenceStore
from vlground.tasks.grounding import Grounding


def run(
    folder: Path,
    samples: list[Sample],
    cam: CAM | None = None,
    metric: QGroundCAM | None = None,
    batch_size: int = 4,
    inference_mode: bool = True,
    scorer: Scorer | None = None,
    mask: Mask | None = None,
) -> Grounding:
    store = EvidenceStore(folder, Stage("prediction", {}, {}))
    task = Grounding(metric or QGroundCAM(), samples, store, mask)
    if cam is not None:
        task.scorer, task.cam, task.batch_size = scorer or PatchScorer(), cam, batch_size
    task.carry_out(trainer(inference_mode))
    return task


def trainer(inference_mode: bool = True) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        inference_mode=inference_mode,
    )


def text(rows: object) -> str:
    """JSON, in which NaN equals NaN."""
    return json.dumps(rows)


def means(task: Grounding) -> dict[str, float]:
    return {name: score["value"] for name, score in task.scores().items()}


def test_planted_evidence_is_found(tmp_path: Path) -> None:
    found = means(run(tmp_path / "gradcam", planted(8, (1, 3)), HiResCAM()))
    assert found["pointing_game"] == 1
    assert found["io_ratio"] > 0.5
    lost = means(run(tmp_path / "foil", planted(8, (1, 3)), ShuffledText([HiResCAM()])))
    assert lost["pointing_game"] < 0.5
    assert lost["io_ratio"] < 0.2


def test_baselines(tmp_path: Path) -> None:
    samples = planted(30)
    uniform = run(tmp_path / "uniform", samples, Uniform())
    assert means(uniform)["io_ratio"] == means(uniform)["pointing_game"] == 1 / 16
    assert not any(row["degenerate"] for row in uniform.table.to_dict("records")), (
        "constant on purpose"
    )
    center = run(tmp_path / "center", samples, Center())
    middle = [s.text in ("1 1", "1 2", "2 1", "2 2") for s in samples]
    hits = [row["pointing_game"] > 0 for row in center.table.to_dict("records")]
    assert hits == middle
    first = run(tmp_path / "random", samples, Random(seed=0)).table.to_dict("records")
    other = run(tmp_path / "other", samples[::-1], Random(seed=0), batch_size=7).table.to_dict(
        "records"
    )[::-1]
    assert text(first) == text(other), "noise depends on (seed, id), not on order or batch mates"
    assert text(first) != text(
        run(tmp_path / "seed", samples, Random(seed=1)).table.to_dict("records")
    )


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_batches_change_nothing(tmp_path: Path, batch_size: int) -> None:
    samples = planted(6, (1, 4))
    reference = run(tmp_path / "a", samples, HiResCAM(), batch_size=5).table.to_dict("records")
    rows = run(tmp_path / "b", samples, HiResCAM(), batch_size=batch_size).table.to_dict("records")
    assert text(rows) == text(reference)


def test_inference_mode_changes_nothing(tmp_path: Path) -> None:
    samples = planted(3)
    inside = run(tmp_path / "a", samples, HiResCAM(), inference_mode=True)
    outside = run(tmp_path / "b", samples, HiResCAM(), inference_mode=False)
    assert text(inside.table.to_dict("records")) == text(outside.table.to_dict("records"))
    assert all(parameter.grad is None for parameter in inside.parameters())


def test_stored_evidence_needs_no_model(tmp_path: Path) -> None:
    samples = planted(4)
    drawn = run(tmp_path, samples, HiResCAM())
    assert text(run(tmp_path, samples).table.to_dict("records")) == text(
        drawn.table.to_dict("records")
    )
    coarse = run(tmp_path, samples, metric=QGroundCAM(resolution="native"))
    assert means(coarse)["pointing_game"] == 1
    assert coarse.table.to_dict("records") != drawn.table.to_dict("records")


def test_an_edited_text_is_drawn_again(tmp_path: Path) -> None:
    samples = planted(2)
    run(tmp_path, samples, HiResCAM())
    edited = [replace(samples[0], text="0 0"), samples[1]]
    store = EvidenceStore(tmp_path, Stage("prediction", {}, {}))
    assert [sample.key in store for sample in edited] == [False, True]


@pytest.mark.parametrize("resize_order", ["resize_first", "normalise_first"])
@pytest.mark.parametrize("resolution", ["original", "input", "native"])
def test_resolution_and_order(tmp_path: Path, resolution: str, resize_order: str) -> None:
    options = QGroundCAM(resolution=resolution, resize_order=resize_order)  # type: ignore[arg-type]
    assert means(run(tmp_path, planted(3), HiResCAM(), options))["pointing_game"] == 1


class Broken(CAM):
    """A map that is wrong in a chosen way."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, scorer, encoded, texts, owner, samples):  # type: ignore[no-untyped-def]
        return torch.full((len(texts), 4, 4), self.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "not_finite"),
        (0.0, "not_positive"),
        (-1.0, "not_positive"),
        (0.7, "constant"),
    ],
)
@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_degenerate_maps_are_counts(tmp_path: Path, value: float, reason: str, resize: str) -> None:
    task = run(tmp_path, planted(2, size=50), Broken(value), QGroundCAM(resize=resize))  # type: ignore[arg-type]
    assert [row["flag"] for row in task.table.to_dict("records")] == [reason] * 2
    assert task.scores() == {}


def test_bad_input_is_counted_and_the_rest_is_scored(tmp_path: Path) -> None:
    good = planted(5)
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(b"\xff\xd8\xff\xe0 and no more")
    far, flat = np.array([[900.0, 900, 950, 950]]), np.array([[5.0, 5, 5, 9]])
    samples = [
        replace(good[0], id="no box", boxes=np.zeros((0, 4))),
        replace(good[1], id="outside", boxes=far),
        replace(good[2], id="empty", boxes=flat),
        replace(good[3], id="torn", image=torn),
        replace(good[3], id="missing", image_id="m", image=tmp_path / "missing.jpg"),
        replace(good[3], id="unknown", text="person"),
        good[4],
    ]
    task = run(tmp_path / "runs", samples, HiResCAM())
    by_id = {row["id"]: row for row in task.table.to_dict("records")}
    assert by_id["no box"]["flag"] == "no_box"
    assert by_id["outside"]["flag"] == "box_outside"
    assert by_id["empty"]["flag"] == "box_empty"
    assert by_id["torn"]["skipped"] == "unreadable image: truncated"
    assert by_id["missing"]["skipped"] == "unreadable image: no such file"
    assert by_id["unknown"]["skipped"] == "unknown to the model: person"
    assert {score["n"] for score in task.scores().values()} == {1}
    assert means(task)["pointing_game"] == 1


def test_one_two_and_three_processes_agree(tmp_path: Path) -> None:
    written = []
    for devices in (1, 2, 3):
        folder = tmp_path / str(devices)
        folder.mkdir()
        process = subprocess.run(
            [sys.executable, "-m", "tests.ddp_worker", str(folder), str(devices)],
            cwd=Path(__file__).parents[1],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        written.append(json.loads((folder / "rows.json").read_text()))
        assert len(list(folder.rglob("*.segment"))) == devices, "each process wrote its share"
    assert text(written[0]) == text(written[1]) == text(written[2])
    assert len(written[0][1]) == len(planted(9, (1, 4)))


def test_texts_that_the_model_knows_none_of_are_counted_with_the_reason(tmp_path: Path) -> None:
    """Lightning ends no prediction of nothing, so nothing may wait for its end."""
    samples = [replace(sample, text="person") for sample in planted(4)]
    task = run(tmp_path, samples, HiResCAM())
    assert set(task.table["skipped"]) == {"unknown to the model: person"}


def test_what_another_task_scores_with_is_refused(tmp_path: Path) -> None:
    told = "metric=judge_matrix: task=grounding is scored by metric=q_groundcam or metric=faithful"
    assert told in vlground("metric=judge_matrix", "limit=1", "logger=none", cwd=tmp_path, code=1)
