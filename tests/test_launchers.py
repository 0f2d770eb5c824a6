"""Cells in processes of launchers, and runs in shards: the files and numbers of one process."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from joblib import Parallel, delayed

from tests.cli import vlground
from tests.test_claims_of_evidence import records
from vlground.command import main as command
from vlground.devices import gpu_of_worker
from vlground.reporting.missing import missing_cells
from vlground.run import CONF
from vlground.tasks.chained import carry_out

# The model's folder is named by a resolver of ours, and nothing here is imported without the hook.
CELLS = ("-m", "model=mini_blip", "dataset=shapes_phrases", "limit=4", "logger=none")
FAILING = "cam=attention_gradcam,file"  # cam=file without a file
FAILURE = "cam.file"


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder of runs; of results what does not differ from run to run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.endswith(".segment") and "sweeps" not in path.parts:
            found[name] = path.read_text() if path.name == "results.json" else ""
    for name, text in found.items():
        if text:
            results = json.loads(text)
            del results["seconds"], results["git"], results["overrides"]
            found[name] = json.dumps(results, sort_keys=True)
    return found


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("basic")
    vlground(*CELLS, FAILING, cwd=folder, code=1)
    return folder


def test_a_failing_cell_is_reported_at_once_and_the_others_go_on(basic: Path) -> None:
    (failed,) = missing_cells(basic / "runs")
    assert FAILURE in failed.reason
    assert "file" in failed.cell
    assert len(list(basic.glob("runs/grounding/*/results.json"))) == 1


def test_submitit_gives_the_files_of_one_process(basic: Path, tmp_path: Path) -> None:
    words = (*CELLS, "cam=attention_gradcam", "hydra/launcher=submitit_local")
    output = vlground(*words, cwd=tmp_path)
    whole = {name: text for name, text in tree(basic / "runs").items() if "-file-" not in name}
    assert tree(tmp_path / "runs") == whole
    assert records(tmp_path) == records(basic)
    assert "attention_gradcam · shapes_phrases: pointing_game" in output, "as its process said it"


@pytest.mark.parametrize(
    "options",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        pytest.param(("hydra/launcher=submitit_local",), marks=pytest.mark.slow),
    ],
)
def test_launchers_give_the_files_of_one_process_and_go_on_after_a_failure(
    basic: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    output = vlground(*CELLS, FAILING, *options, cwd=tmp_path, code=1)
    assert tree(tmp_path / "runs") == tree(basic / "runs")
    assert records(tmp_path) == records(basic)
    lines = output.splitlines()
    assert any(
        "attention_gradcam · shapes_phrases" in line and "io_ratio" in line for line in lines
    )
    assert any(FAILURE in line and "vlground" not in line for line in lines), output
    assert "1 failed" in output
    assert "1 done now" in output
    assert "Traceback" not in output


def test_shards_are_merged_to_the_last_digit(tmp_path: Path) -> None:
    words = ["model=mini_blip", "cam=attention_gradcam", "dataset=shapes_phrases", "limit=24"]
    # A batch of others changes the last bits of a map, so here each text is one by itself.
    words += ["logger=none", "batch_size=1"]
    whole = carry_out([*words, f"runs={tmp_path}/whole"])
    for shard in ("0/2", "1/2"):
        carry_out([*words, f"runs={tmp_path}/parts", f"shard={shard}"])
    stored = records(tmp_path / "parts")
    segments = {path: path.stat().st_size for path in tmp_path.rglob("parts/**/*.segment")}
    merged = carry_out([*words, f"runs={tmp_path}/parts"])
    assert stored == records(tmp_path / "whole")
    assert {path: path.stat().st_size for path in segments} == segments, "no model was asked"
    assert records(tmp_path / "parts") == stored
    assert merged.fingerprint == whole.fingerprint
    for name in ("scores", "counts", "matrix", "identity"):
        assert merged.results[name] == whole.results[name]


def test_what_nobody_ran_is_missing_until_somebody_does(basic: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(basic / "runs", runs)
    (listed,) = runs.glob("sweeps/*/cells.json")
    sweep = json.loads(listed.read_text())
    sweep["cells"].append(["cam=uniform", "experiment=mine"])
    sweep["experiment"] = "mine"
    listed.write_text(json.dumps(sweep))
    assert [(one.cell, one.reason) for one in missing_cells(runs, ["mine"])][1:] == [
        ("cam=uniform", "not run")
    ]
    assert missing_cells(runs, ["other"]) == []
    (done,) = runs.glob("grounding/*/results.json")
    done.unlink()
    assert len(missing_cells(runs)) == 3
    later = listed.parents[1] / "later"
    (later / "cells").mkdir(parents=True)
    (later / "cells.json").write_text(json.dumps({**sweep, "cells": sweep["cells"][2:]}))
    ended = {"outcome": "impossible", "title": "t", "told": "", "directory": None}
    (later / "cells" / "0.json").write_text(json.dumps(ended))
    assert len(missing_cells(runs)) == 2


def test_a_process_of_a_pool_keeps_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")

    def gpu() -> tuple[int, str]:  # in here, so that no process imports this file
        time.sleep(0.3)
        return os.getpid(), gpu_of_worker()

    jobs = Parallel(n_jobs=2, batch_size=1)(delayed(gpu)() for _ in range(6))
    assert {gpu for _, gpu in jobs} == {"4", "7"}
    assert len(set(jobs)) == 2, "the same process, the same GPU"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_of_worker() == ""


def launcher_of(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("run", list(overrides), return_hydra_config=True).hydra


@pytest.mark.filterwarnings("ignore:(?s).*is validated against ConfigStore schema")
@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("hydra/launcher/*.yaml")))
def test_launchers_compose(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    node = launcher_of(f"hydra/launcher={name}")
    assert get_class(node.launcher._target_)
    if name == "joblib_gpu":
        assert node.launcher.n_jobs == 3
        assert node.job.env_set.CUDA_VISIBLE_DEVICES in ("0", "1", "2")


def test_an_array_of_slurm_has_what_was_asked_for(tmp_path: Path) -> None:
    from submitit.slurm.slurm import _make_sbatch_string

    words = ("hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.mem_gb=32")
    launcher = launcher_of(*words).launcher
    assert (launcher.max_num_timeout, launcher.array_parallelism) == (3, 64)
    script = _make_sbatch_string(
        command="python",
        folder=tmp_path,
        map_count=4,
        partition=launcher.partition,
        mem=f"{launcher.mem_gb}GB",
        time=launcher.timeout_min,
        array_parallelism=launcher.array_parallelism,
    )
    assert "#SBATCH --array=0-3%4" in script
    assert "#SBATCH --partition=gpu" in script


def test_a_launcher_that_is_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vlground.sweeps._PACKAGES", {"joblib": "no-such-package"})
    monkeypatch.setattr("sys.argv", ["vlground", "-m", "hydra/launcher=joblib"])
    with pytest.raises(SystemExit, match=r"hydra/launcher=joblib: needs .*vlground\[launchers\]"):
        command()
