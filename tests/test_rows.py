"""Rows that are written in parts, and pools that are looked at in parts."""

import resource
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas
import pytest

from vlground.errors import VlgroundError
from vlground.rewards import signals as signals_module
from vlground.rewards import statistics
from vlground.rewards.gathering import Gathered, Scored, gather
from vlground.rewards.options import VigorReward
from vlground.rows import RowFile

COLUMNS = {"id": str, "count": int, "share": float, "there": bool}


def part(names: list[str], counts: list[float | None]) -> pandas.DataFrame:
    rows = {"id": names, "count": counts, "share": 0.5, "there": True, "other": "left out"}
    return pandas.DataFrame(rows)


def test_parts_of_other_types_are_one_file(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.parquet", COLUMNS)
    file.add(part(["a", "b"], [1, 2]))
    file.add(part(["c", "d"], [None, 4]))  # floats, with a gap
    assert file.read(["d", "a"])["count"].tolist() == [1, 4]
    assert not (tmp_path / "rows.parquet").exists()
    file.finish()
    rows = pandas.read_parquet(tmp_path / "rows.parquet")
    assert rows["id"].tolist() == ["a", "b", "c", "d"]
    assert rows["count"].isna().tolist() == [False, False, True, False]
    assert list(rows) == list(COLUMNS)


def test_what_is_not_finished_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("before")
    file = RowFile(path, COLUMNS)
    file.add(part(["a"], [1]))
    file.discard()
    assert [one.name for one in tmp_path.iterdir()] == ["rows.parquet"]
    assert path.read_text() == "before"
    with pytest.raises(VlgroundError, match="runs=DIR"):
        RowFile(tmp_path / "nowhere" / "rows.parquet", COLUMNS)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code = """
import sys, pandas
from pathlib import Path
from vlground.errors import VlgroundError
from vlground.rows import RowFile
file = RowFile(Path(sys.argv[1]) / "rows.parquet", {"id": str})
try:
    for part in range(50):
        file.add(pandas.DataFrame({"id": [f"{part}/{n * 7919 % 5003}" for n in range(5000)]}))
except VlgroundError as error:
    print(error)
file.discard()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    ran = subprocess.run(command, preexec_fn=full, capture_output=True, text=True, check=True)
    assert "cannot write" in ran.stdout
    assert not list(tmp_path.iterdir())


def pool(images: int, seed: int) -> Gathered:
    draw = np.random.default_rng(seed)

    def scored(image: int, index: int) -> Scored:
        errors = draw.choice([0.0, 1.0, np.nan], (draw.integers(0, 4), 1)).repeat(6, axis=1)
        lemmas = [f"noun {n}" for n in draw.integers(0, 7, draw.integers(0, 6))]
        presence = draw.choice([0.1, 0.9, np.nan], len(lemmas))
        return Scored(f"image {image}", index, int(draw.integers(9)), errors, lemmas, presence)

    return gather(scored(image, index) for image in range(images) for index in range(3))


def test_signals_of_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, options = pool(40, 0).candidates, VigorReward()
    at_once = signals_module.signals(whole, options)
    monkeypatch.setattr(signals_module, "_TOGETHER", 7)
    for name, values in vars(signals_module.signals(whole, options)).items():
        np.testing.assert_array_equal(values, getattr(at_once, name))


def test_nouns_are_counted_as_one_would_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_TOGETHER", 4)
    known, options = pool(30, 1), VigorReward()
    c = known.candidates
    captions, chances = defaultdict(set), defaultdict(dict)
    for owner, noun, presence in zip(c.noun_owner, c.noun, c.presence, strict=True):
        captions[noun].add(owner)
        chances[noun].setdefault(c.image[owner], presence)
    for entry in statistics.by_noun(known, options):
        noun = known.lemmas.index(entry["noun"])
        told = [value for value in chances[noun].values() if value == value]
        assert entry["captions"] == len(captions[noun])
        assert entry["images"] == len(chances[noun])
        assert entry["presence"] == pytest.approx(np.mean(told))
        assert entry["undetected"] == np.mean(np.array(told) <= options.noun_threshold)


def test_a_part_of_a_pool_is_a_pool() -> None:
    whole, options = pool(20, 2), VigorReward()
    rows = slice(6, 21)
    columns = statistics.columns_of(whole, options).iloc[rows]
    pandas.testing.assert_frame_equal(statistics.columns_of(whole.part(rows), options), columns)
    assert whole.part(rows).keys == whole.keys[rows]
