"""The command line end to end, on real photos with real weights."""

import shutil
from pathlib import Path

import pandas
import pytest

from tests.cli import command, results, vlground


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A 2 × 2 multirun with W&B offline."""
    folder = tmp_path_factory.mktemp("swept")
    cells = ("model=efficientnet_lite0,efficientnet_lite1", "cam=gradcam,uniform")
    return folder, vlground("-m", *cells, "limit=4", cwd=folder)


def test_a_multirun_makes_every_cell(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    made = results(folder / "runs")
    choices = {(r["choices"]["model"], r["choices"]["cam"]) for r in made}
    models, cams = ("efficientnet_lite0", "efficientnet_lite1"), ("gradcam", "uniform")
    assert choices == {(m, c) for m in models for c in cams}
    assert all(r["counts"]["samples"] == r["counts"]["scored"] == 4 for r in made)
    assert len({r["fingerprint"] for r in made}) == 4


def test_what_lands_on_disk(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    (run,) = (folder / "runs" / "grounding").glob("efficientnet_lite0-gradcam-photos-*")
    expected = {".hydra", "config.yaml", "figures", "results.json", "rows.parquet", "run.log"}
    assert {path.name for path in run.iterdir()} == {*expected, "wandb"}
    assert {path.name for path in (run / ".hydra").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }
    assert len(list((run / "figures").glob("*.jpg"))) == 4
    assert len(list((run / "wandb").glob("offline-run-*"))) == 1
    rows = pandas.read_parquet(run / "rows.parquet")
    assert len(rows) == rows["id"].nunique() == 4
    (result,) = [r for r in results(folder / "runs") if r["fingerprint"].startswith(run.name[-8:])]
    for name, score in result["scores"].items():
        assert score["value"] == pytest.approx(rows[name].mean()), name
    assert set(result) >= {"choices", "counts", "device", "git", "identity", "versions", "seconds"}
    assert result["identity"]["metric"]["wdp_normalisation"] == "mass"


def test_uniform_scores_the_area(swept: tuple[Path, str]) -> None:
    made = [r for r in results(swept[0] / "runs") if r["choices"]["cam"] == "uniform"]
    for result in made:
        area = result["scores"]["area"]["value"]
        for name in ("pointing_game", "io_ratio", "iou_soft"):
            assert result["scores"][name]["value"] == pytest.approx(area, abs=1e-6)


def test_again_computes_nothing(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(swept[0], folder, symlinks=True)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    output = vlground(
        "-m", "model=efficientnet_lite0", "cam=gradcam,uniform", "limit=4", cwd=folder
    )
    assert output.count("photos: done already") == 2
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    new = {path for path in after if after[path] != before.get(path)}
    assert all("sweeps" in path.parts for path in new), "only Hydra's record of the sweep"


def test_evidence_is_reused_by_other_metrics_and_larger_runs(
    swept: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "reused"
    shutil.copytree(swept[0], folder, symlinks=True)

    def segments() -> list[int]:
        return sorted(path.stat().st_size for path in folder.rglob("*.segment"))

    before = segments()
    output = vlground("-m", "metric.tie=any,first", "limit=4", "logger=none", cwd=folder)
    assert output.count("4 of 4 samples") == 2
    assert segments() == before
    vlground("limit=5", "logger=none", cwd=folder)
    grown = [size for size in segments() if size not in before]
    assert len(grown) == 1, "one new segment"
    assert grown[0] < max(before), "that holds only the fifth map"


def test_a_failing_cell_leaves_the_others(tmp_path: Path) -> None:
    output = vlground(
        "-m", "model.layer=nowhere,null", "limit=1", "logger=none", cwd=tmp_path, code=1
    )
    assert "model.layer=nowhere: no such layer" in output
    assert "1 of 1 samples" in output
    assert "Traceback" not in output
    assert len(results(tmp_path / "runs")) == 1
    (error,) = tmp_path.rglob("error.txt")
    assert "Traceback" in error.read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["dataset=voc"], "dataset.root"),
        (["dataset=voc", "dataset.root=/nowhere"], "dataset.root=/nowhere"),
        (["metric.tie=foo"], "metric.tie=foo: expected"),
        (["shard=3/2"], "shard=3/2: expected"),
        (["sample=nobody"], "sample=nobody: no such id"),
        (["limit=0"], "limit=0: expected"),
        (["cam.layer=nowhere"], "cam.layer=nowhere: no such target layer"),
        (["modle=x"], "modle"),
        (["-m", "trainer=ddp", "seed=0,1"], "not in a sweep"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_the_user_can_mend_is_one_line(
    arguments: list[str], line: str, tmp_path: Path
) -> None:
    output = vlground(*arguments, "logger=none", cwd=tmp_path, code=1)
    assert any(line in text for text in output.splitlines())
    assert "Traceback" not in output
    assert not list(tmp_path.rglob("results.json"))


@pytest.mark.slow  # by the command, several times
def test_debug_runs_are_never_returned(tmp_path: Path) -> None:
    for _ in range(2):
        output = vlground("trainer=debug", "batch_size=2", "logger=none", cwd=tmp_path)
        assert "done already" not in output
        assert "of 14 samples" in output
        assert "14 of 14 samples" not in output
    assert {path.parts[-3] for path in tmp_path.rglob("results.json")} == {"debug"}
    output = vlground("logger=none", cwd=tmp_path)
    assert "14 of 14 samples" in output


def test_the_report(swept: tuple[Path, str]) -> None:
    output = command("vlground.report", "runs", "--format", "markdown", cwd=swept[0])
    assert "| efficientnet_lite0 | uniform" in output
    assert "reconstructed" in output
    assert "fewer than 20 images" in output
    assert "no results.json" in command("vlground.report", "nowhere", cwd=swept[0], code=1)


@pytest.mark.shared
def test_real_voc_photos(voc60: Path, tmp_path: Path) -> None:
    output = vlground("dataset=voc", f"dataset.root={voc60}", "logger=none", cwd=tmp_path)
    assert "67 of 87 samples" in output
    (result,) = results(tmp_path / "runs")
    assert result["counts"]["skipped"] == {"unknown to the model: person": 20}
    assert (
        result["counts"]["annotations_left_out"] == {"difficult object": 31}
        or result["counts"]["annotations_left_out"]
    )
    scores = result["scores"]
    assert scores["io_ratio"]["low"] > scores["area"]["high"], "real grounding beats a uniform map"
    assert str(voc60) not in str(result["identity"]), "no path in the identity"


def test_two_processes_of_one_run_change_nothing(swept: tuple[Path, str], tmp_path: Path) -> None:
    processes = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    vlground(*processes, "limit=4", "logger=none", cwd=tmp_path)
    (together,) = results(tmp_path / "runs")
    alone = {r["fingerprint"]: r for r in results(swept[0] / "runs")}[together["fingerprint"]]
    assert together["scores"] == alone["scores"]
    assert together["counts"] == alone["counts"]
    assert len(list(tmp_path.rglob("*.segment"))) == 2
