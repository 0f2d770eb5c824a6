"""Processes that want the same evidence make it once, and nobody waits for a dead one."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import pandas
import pytest
import torch

from tests.scorers import PatchScorer
from tests.worlds import planted
from vlground import leases
from vlground.cams.gradient import HiResCAM
from vlground.contracts import Encoded
from vlground.identity import Stage
from vlground.leases import Leases
from vlground.metrics import QGroundCAM
from vlground.store import EvidenceStore, _records
from vlground.tasks.chained import carry_out
from vlground.tasks.grounding import Grounding

# What has imported everything is not to be imported again in each process.
FORK = multiprocessing.get_context("fork")
SAMPLES = planted(images=12, texts=(1, 3))
STAGE = Stage("prediction", {}, {})


def records(folder: Path) -> Counter[str]:
    """How often each piece of evidence was written."""
    counts: Counter[str] = Counter()
    for path in folder.rglob("*.segment"):
        with path.open("rb") as file:
            counts.update(f"{path.parent.name}/{key}" for key, _, _ in _records(file))
    return counts


class Slow(PatchScorer):
    """Takes its time for every batch, and for ever for the second one if it is to tell so."""

    def __init__(self, pause: float, stuck: Path | None = None) -> None:
        super().__init__()
        self.pause, self.stuck, self.batches = pause, stuck, 0

    def encode(self, pixels: torch.Tensor) -> Encoded:
        self.batches += 1
        if self.stuck is not None and self.batches == 2:
            self.stuck.touch()
            time.sleep(3600)
        time.sleep(self.pause)
        return super().encode(pixels)


def ground(folder: Path, scorer: PatchScorer, done: Path | None = None) -> Grounding:
    task = Grounding(QGroundCAM(), SAMPLES, EvidenceStore(folder, STAGE))
    task.scorer, task.cam, task.batch_size = scorer, HiResCAM(), 4
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )
    task.carry_out(trainer)
    if done is not None:
        task.table.to_parquet(done)
    return task


def together(*jobs: tuple[Callable[..., Any], Sequence[Any]]) -> list[Any]:
    # Daemons, which end with a test that fails.
    processes = [FORK.Process(target=job, args=arguments, daemon=True) for job, arguments in jobs]
    for process in processes:
        process.start()
    return processes


def until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it takes too long")


def ends(processes: Sequence[Any]) -> None:
    for process in processes:
        process.join(timeout=100)
        assert process.exitcode == 0


def test_two_at_once_share_the_maps_and_have_the_numbers_of_one(tmp_path: Path) -> None:
    alone = ground(tmp_path / "alone", PatchScorer())
    both, tables = tmp_path / "both", [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    ends(together(*((ground, (both, Slow(0.2), table)) for table in tables)))
    assert records(both) == records(tmp_path / "alone")
    assert set(records(both).values()) == {1}
    assert len(list(both.rglob("*.segment"))) == 2, "neither waited for all"
    assert not list(both.rglob("*.lease"))
    for table in tables:
        pandas.testing.assert_frame_equal(pandas.read_parquet(table), alone.table)


def test_what_a_killed_process_was_making_is_made_by_who_waits(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    (maker,) = together((ground, (tmp_path, Slow(0.0, stuck))))
    until(stuck.exists)
    done = tmp_path / "evidence" / STAGE.fingerprint / "stored-but-not-given-back.0.lease"
    done.write_text(f"{leases._HOST} {_dead()}")
    (waiter,) = together((ground, (tmp_path, PatchScorer())))
    until(lambda: len(records(tmp_path)) >= len(SAMPLES) - 4)  # all but the batch in flight
    waiter.join(timeout=2)
    assert waiter.exitcode is None, "it waits"
    assert len(records(tmp_path)) < len(SAMPLES)
    os.kill(maker.pid, signal.SIGKILL)
    maker.join()
    ends([waiter])
    assert records(tmp_path).keys() == {f"{STAGE.fingerprint}/{s.key}" for s in SAMPLES}
    assert set(records(tmp_path).values()) == {1}
    assert not list(tmp_path.rglob("*.lease")), "those of the dead are cleared away, too"


def test_who_fails_gives_back_what_it_could_not_make(tmp_path: Path) -> None:
    class Broken(PatchScorer):
        def encode(self, pixels: torch.Tensor) -> Encoded:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        ground(tmp_path, Broken())
    assert not list(tmp_path.rglob("*.lease"))
    assert EvidenceStore(tmp_path, STAGE).take([SAMPLES[0].key])


CHAINS = {
    "explanation": ("model=mini_classifier", "dataset=shapes_classification", "task.sanity=4"),
    "scoring": ("task.n=2",),
}


@pytest.mark.parametrize("task", CHAINS)
def test_cells_that_share_evidence_make_it_once(task: str, tmp_path: Path) -> None:
    words = [f"task={task}", *CHAINS[task], "logger=none", f"runs={tmp_path}", "batch_size=2"]
    one, other = ([*words, f"limit={limit}"] for limit in (6, 8))
    ends(together((carry_out, (one,)), (carry_out, (other,))))
    counts = records(tmp_path)
    counts = Counter({key: n for key, n in counts.items() if not key.endswith("/counts")})
    assert len(counts) >= 8
    assert set(counts.values()) == {1}
    assert len(list(tmp_path.glob(f"{task}/*/results.json"))) == 2
    assert not list(tmp_path.rglob("*.lease"))


def test_a_lease_of_another_host_ends_when_it_is_no_longer_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = Leases(tmp_path), Leases(tmp_path)
    monkeypatch.setattr(leases, "_HOST", "far")
    monkeypatch.setattr(leases, "BEAT", 0.05)
    assert far.take("key")
    monkeypatch.setattr(leases, "_HOST", "near")
    monkeypatch.setattr(leases, "STALE", 0.3)
    for _ in range(10):
        assert near.taken("key")
        assert not near.take("key")
        time.sleep(0.05)
    assert far._ended is not None
    far._ended.set()  # as if its process were gone
    assert near.taken("key")
    time.sleep(0.5)
    assert not near.taken("key")
    assert near.take("key")
    near.release(["key"])
    assert not [path for path in tmp_path.iterdir() if path.stem.endswith(".1")]
    near.end()


def test_of_all_who_try_one_gets_a_lease_also_of_the_dead(tmp_path: Path) -> None:
    def take(ready: Any, won: Any) -> None:
        mine = Leases(tmp_path)
        ready.wait()
        if mine.take("key"):
            won.put(os.getpid())
        time.sleep(1)  # longer than all of them need

    (tmp_path / next(Leases(tmp_path)._turns("key"))).write_text(f"{leases._HOST} {_dead()}")
    ready, won = FORK.Barrier(6), FORK.Queue()
    processes = together(*((take, (ready, won)) for _ in range(6)))
    ends(processes)
    assert won.get() in {process.pid for process in processes}
    assert won.empty()


def _dead() -> int:
    process = FORK.Process(target=lambda: None)
    process.start()
    process.join()
    assert process.pid is not None
    return process.pid
