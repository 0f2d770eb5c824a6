"""What a sweep survives: kill -9, SIGTERM, torn files, bad disks, a second process."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli import ENVIRONMENT, vlground
from vlground.store import _records

SWEEP = ("-m", "cam=gradcam,hirescam,random", "batch_size=2", "logger=none", "task.overlays=2")
CELLS = 3


def start(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vlground", *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def final(cwd: Path) -> dict[str, str]:
    """Every results.json without its times, and without the state of a checkout being edited."""
    found = {}
    for path in sorted(cwd.glob("runs/grounding/*/results.json")):
        result = json.loads(path.read_text())
        del result["seconds"], result["git"]
        found[path.parent.name] = json.dumps(result, indent=1, sort_keys=True)
    return found


def stored(cwd: Path) -> Counter[str]:
    """How often each piece of evidence was written, whole."""
    counts: Counter[str] = Counter()
    for path in cwd.rglob("*.segment"):
        with path.open("rb") as file:
            counts.update(f"{path.parent.name}/{key}" for key, _, _ in _records(file))
    return counts


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    vlground(*SWEEP, cwd=folder)
    assert len(final(folder)) == CELLS
    return folder


def killed(folder: Path, kills: int, longest: float) -> None:
    """Kill a sweep so many times at random moments; one that ends by itself is done over."""
    rng = random.Random(0)
    for _ in range(kills):
        process = start(folder, *SWEEP)
        try:
            process.wait(timeout=rng.uniform(0.5, 1) * longest)
            shutil.rmtree(folder / "runs", ignore_errors=True)  # done before the kill: begin again
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


def check_after_kills(folder: Path, undisturbed: Path, kills: int) -> None:
    started = time.perf_counter()
    vlground(*SWEEP, "limit=1", f"runs={folder}/timed", cwd=folder)
    killed(folder, kills, longest=time.perf_counter() - started + 2)
    vlground(*SWEEP, cwd=folder)
    assert final(folder) == final(undisturbed)
    assert set(stored(folder / "runs").values()) == {1}, "what was stored was never computed again"
    assert not list(folder.rglob("*.tmp"))


def test_kill_9(undisturbed: Path, tmp_path: Path) -> None:
    check_after_kills(tmp_path, undisturbed, kills=3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_at_twenty_moments(undisturbed: Path, tmp_path: Path) -> None:
    check_after_kills(tmp_path, undisturbed, kills=20)


def test_a_torn_segment_is_found_and_made_again(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    shutil.copytree(undisturbed, folder)
    segments = list(folder.rglob("*.segment"))
    for segment in segments:
        segment.write_bytes(segment.read_bytes()[:-100])
    for path in folder.rglob("results.json"):
        path.unlink()
    output = vlground(*SWEEP, cwd=folder)
    assert output.count("is torn") == CELLS
    assert final(folder) == final(undisturbed)
    added = sum(stored(folder).values()) - sum(stored(undisturbed).values())
    assert added == 0, "one lost and one made again in each"


def test_sigterm_ends_cleanly(undisturbed: Path, tmp_path: Path) -> None:
    process = start(tmp_path, *SWEEP)
    assert process.stdout is not None
    for line in process.stdout:
        if "samples" in line:  # the first cell is done
            break
    os.kill(process.pid, signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 143, rest
    assert "Traceback" not in rest
    assert 1 <= len(final(tmp_path)) < CELLS
    vlground(*SWEEP, cwd=tmp_path)
    assert final(tmp_path) == final(undisturbed)


def test_two_processes_on_the_same_cells(undisturbed: Path, tmp_path: Path) -> None:
    processes = [start(tmp_path, *SWEEP) for _ in range(2)]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert final(tmp_path) == final(undisturbed)


@contextmanager
def file_system(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let the test mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path: Path) -> None:
    with file_system(tmp_path / "small", "size=200k") as small:
        output = vlground("logger=none", f"runs={small}/runs", cwd=tmp_path, code=1)
        assert "cannot write: No space left on device (change it with runs=DIR)" in output
        assert "Traceback" not in output
        assert not list(small.rglob("results.json"))
        shutil.copytree(small, tmp_path / "moved")
    output = vlground("logger=none", f"runs={tmp_path}/moved/runs", cwd=tmp_path)
    assert "14 of 14 samples" in output
    assert set(stored(tmp_path / "moved").values()) == {1}, "the maps were kept"


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    with file_system(tmp_path / "fixed", "ro") as fixed:
        output = vlground("logger=none", f"runs={fixed}/runs", cwd=tmp_path, code=1)
    assert "cannot write: Read-only file system (change it with runs=DIR)" in output
    assert "Traceback" not in output
