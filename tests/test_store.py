"""Identity, evidence that survives, results that are whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vlground.errors import VlgroundError
from vlground.identity import Stage, digest
from vlground.store import Evidence, EvidenceStore
from vlground.whole import replacing, write_json

STAGE = Stage("prediction", {"model": 1}, {"model": {"name": "a", "root": "/x", "k": 1}})


def _record(number: int) -> tuple[str, dict]:
    return f"key{number}", {"map": np.full((2, 3), number, np.float32), "frame": [1, 2.5]}


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    EvidenceStore(tmp_path, STAGE).append([_record(1), _record(2), ("none", {"skipped": "why"})])
    store = EvidenceStore(tmp_path, STAGE)
    assert len(store) == 3
    assert "key1" in store
    assert "key9" not in store
    np.testing.assert_array_equal(store["key2"]["map"], np.full((2, 3), 2, np.float32))
    assert store["key2"]["map"].dtype == np.float32
    assert store["key2"]["frame"] == [1, 2.5]
    assert store["none"] == {"skipped": "why"}
    with pytest.raises(KeyError):
        store["key9"]


def test_two_writers_at_once(tmp_path: Path) -> None:
    first, second = EvidenceStore(tmp_path, STAGE), EvidenceStore(tmp_path, STAGE)
    first.append([_record(1)])
    second.append([_record(1), _record(2)])
    first.append([_record(3)])
    assert "key2" not in first
    first.refresh()
    assert sorted(first[k]["map"][0, 0] for k in ("key1", "key2", "key3")) == [1, 2, 3]
    first.append([_record(4)])
    assert len(EvidenceStore(tmp_path, STAGE)) == 4


@pytest.mark.parametrize("cut", [1, 5, 40, 150])
def test_a_torn_segment_loses_only_its_last_record(tmp_path: Path, cut: int) -> None:
    EvidenceStore(tmp_path, STAGE).append([_record(1), _record(2)])
    (segment,) = tmp_path.rglob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-cut])
    store = EvidenceStore(tmp_path, STAGE)
    assert "key1" in store
    assert "key2" not in store
    assert store.damaged == [segment]
    store.append([_record(2)])
    again = EvidenceStore(tmp_path, STAGE)
    assert again["key2"]["map"][0, 0] == 2


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    EvidenceStore(tmp_path, STAGE).append([_record(1)])
    (segment,) = tmp_path.rglob("*.segment")
    content = bytearray(segment.read_bytes())
    content[-3] ^= 1
    segment.write_bytes(content)
    assert len(EvidenceStore(tmp_path, STAGE)) == 0


def test_kill_9_loses_at_most_the_record_in_flight(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from tests.test_store import STAGE, _record\n"
        "from vlground.store import EvidenceStore\n"
        "store = EvidenceStore(Path(sys.argv[1]), STAGE)\n"
        "for i in range(10**6):\n    store.append([_record(i)]); print(i, flush=True)\n"
    )
    root = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), root], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    told = [int(line) for line in process.stdout.read().split("\n") if line.strip().isdigit()]
    process.wait()
    store = EvidenceStore(tmp_path, STAGE)
    # The last line may itself be cut short by the kill.
    assert len(told) > 2
    assert all(store[f"key{i}"]["map"][0, 0] == i for i in range(told[-2]))


def test_stage_identity() -> None:
    def stage(**changed: object) -> str:
        fields = {
            "name": "prediction",
            "versions": {"model": 1},
            "reads": {"model": {"name": "a", "root": "/elsewhere", "k": 1}},
            **changed,
        }
        return Stage(**fields).fingerprint  # type: ignore[arg-type]

    assert stage() == STAGE.fingerprint, "a location does not count"
    others = [
        stage(name="verdict"),
        stage(versions={"model": 2}),
        stage(reads={"model": {"name": "b", "k": 1}}),
        stage(checksums={"weights": "0"}),
        stage(parents=("prediction-0",)),
    ]
    assert len({stage(), *others}) == 6


def test_digest_is_pinned() -> None:
    """A change here makes everything that anybody has stored be computed again."""
    assert digest({"b": [1, 2.5, None, "é"], "a": True}) == "9c4bfd7a7a37f79a"


def test_results_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    def write() -> None:
        with replacing(tmp_path / "results.json") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_text("x" * 100_000)

    with pytest.raises(VlgroundError, match=r"results\.json: cannot write: No space left.*runs="):
        write()
    assert os.listdir(tmp_path) == []


def test_texts_alone_and_arrays_are_read_back_as_they_were(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, Stage("mixed", {}, {}))
    text: Evidence = {"text": 'says "dtype", ü, 🐈', "nothing": None, "numbers": [1.0, 2.5]}
    mixed: Evidence = {"text": "a", "dtype": np.arange(3), "empty": np.zeros((0, 4))}
    store.append([("text", text), ("mixed", mixed), ("bare", {"only": np.ones(2)})])
    store.refresh()
    assert store["text"] == text
    assert store["mixed"]["text"] == "a"
    np.testing.assert_array_equal(store["mixed"]["dtype"], np.arange(3))
    assert np.shape(store["mixed"]["empty"]) == (0, 4)
    assert list(store["bare"]) == ["only"]
