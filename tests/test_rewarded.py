"""W&B, tables and the report page of the tasks that reward captions."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests import cli
from tests.captioned import make_world
from tests.cli import command, vlground
from tests.wandb_file import OfflineRun
from tests.wandb_server import KEY, WandbServer, serving
from vlground import rewarded
from vlground.page.build import page
from vlground.page.reading import read
from vlground.push import Stored
from vlground.reporting.rewards import RECOMMENDED, reward_blocks
from vlground.rewards.arms import ARMS
from vlground.tracking import flat_scores

_HISTOGRAM = ("_type", "values", "bins")
_UNSET = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No login and no settings of the person who runs the tests."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        places = {"NETRC": "netrc", "WANDB_CONFIG_DIR": "config", "XDG_DATA_HOME": "data"}
        for name, place in places.items():
            patch.setitem(cli.ENVIRONMENT, name, str(folder / place))
        for name in _UNSET:
            patch.delitem(cli.ENVIRONMENT, name, raising=False)
        yield


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with serving() as running:
        monkeypatch.delitem(cli.ENVIRONMENT, "WANDB_MODE", raising=False)
        monkeypatch.setitem(cli.ENVIRONMENT, "WANDB_BASE_URL", running.url)
        monkeypatch.setitem(cli.ENVIRONMENT, "WANDB_API_KEY", KEY)
        yield running


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of each task; rejection sampling is logged, offline."""
    folder = tmp_path_factory.mktemp("ran")
    world = make_world(folder / "world")
    vlground(*world, "task.overlays=4", "task.review=0", cwd=folder)
    output = vlground(*world, "task=scoring", "logger=none", cwd=folder)
    assert "undetected_nouns 0." in output
    groups = ("task.nouns", "detector", "reward")
    candidates = [one for one in world if not one.startswith(groups)]
    output = vlground(*candidates, "task=sampling", "logger=none", cwd=folder)
    assert "distinct 0." in output
    return folder


@pytest.fixture(scope="module")
def live(ran: Path) -> OfflineRun:
    (folder,) = [path for path in ran.rglob("offline-run-*") if path.is_dir()]
    return OfflineRun(folder)


@pytest.fixture(scope="module")
def result(ran: Path) -> dict[str, Any]:
    return result_of(ran, "rejection_sampling")


def result_of(ran: Path, task: str) -> dict[str, Any]:
    (path,) = ran.glob(f"runs/{task}/*/results.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def rows_of(ran: Path) -> pandas.DataFrame:
    (path,) = ran.glob("runs/rejection_sampling/*/rows.parquet")
    return pandas.read_parquet(path)


def test_numbers_have_the_namespace_of_rewards(live: OfflineRun, result: dict[str, Any]) -> None:
    for arm in ARMS:
        for name in ("chair_i", "recall", "words"):
            score = result["scores"][f"{arm}/{name}"]
            assert live.numbers[f"reward/{arm}/{name}"] == score["value"]
            assert live.numbers[f"reward/{arm}/{name}_low"] == score["low"]
    assert live.numbers["reward/penalty"] == result["scores"]["penalty"]["value"]
    assert live.numbers["reward/count/emptied"] == result["reward"]["counts"]["emptied"] == 1
    assert live.numbers["reward/count/samples"] == result["counts"]["samples"]
    assert not [name for name in live.numbers if name.startswith("rejection_sampling/")]


def test_namespaces_of_the_other_tasks(ran: Path) -> None:
    scoring, sampling = result_of(ran, "scoring"), result_of(ran, "sampling")
    found = flat_scores(scoring)
    assert found["reward/error/hallucination"] == scoring["scores"]["error/hallucination"]["value"]
    assert found["reward/count/scored"] == scoring["counts"]["scored"]
    assert flat_scores(sampling)["sampling/words"] == sampling["scores"]["words"]["value"]
    assert rewarded.histograms(scoring).keys() == {
        "reward/histogram/sentences",
        "reward/histogram/nouns",
    }
    grounding = {"task": "grounding", "reward": {"counts": {"emptied": 1}}}
    assert rewarded.numbers(grounding) == rewarded.histograms(grounding) == {}
    assert rewarded.nouns(sampling) == rewarded.nouns(grounding) == []


def test_histograms_are_those_of_the_results(live: OfflineRun, result: dict[str, Any]) -> None:
    names = {"nouns", "sentences", *(f"penalty_{n}" for n in ("nouns", "sentences", "total"))}
    assert set(result["reward"]["histograms"]) == names | {"penalty_winners"}
    for name, one in result["reward"]["histograms"].items():
        shown = {key: live.summary[f"reward/histogram/{name}", key] for key in _HISTOGRAM}
        assert shown["_type"] == "histogram"
        assert (shown["values"], shown["bins"]) == (one["counts"], pytest.approx(one["edges"]))


def test_the_table_of_nouns(live: OfflineRun, result: dict[str, Any]) -> None:
    table = live.table("reward/nouns")
    assert table.columns == list(rewarded.NOUN_COLUMNS)
    assert [dict(zip(table.columns, line, strict=True)) for line in table.data] == [
        {name: one[name] for name in table.columns} for one in result["reward"]["nouns"]
    ]
    zebra = table.data[table.column("noun").index("zebra")]
    assert zebra[-2:] == [None, None], "the detector could not tell"


def test_the_table_of_winners(ran: Path, live: OfflineRun) -> None:
    table, rows = live.table("reward/winners"), rows_of(ran)
    won = rows[rows["winner"]].set_index("image_id")
    assert sorted(table.column("image_id")) == sorted(won.index)
    for line in table.data:
        entry = dict(zip(table.columns, line, strict=True))
        row = won.loc[entry["image_id"]]
        assert (entry["candidate"], entry["caption"]) == (row["candidate"], row["text"])
        assert entry["refined"] == row["refined"]
        for name in ("penalty", "penalty_nouns", "tied", "removed_sentences"):
            assert entry[name] == row[name]
    tied = dict(zip(table.column("image_id"), table.column("tied"), strict=True))
    shared = {
        image: (mine["penalty"] == mine["penalty"].min()).sum()
        for image, mine in rows[rows["flag"] == ""].groupby("image_id")
    }
    assert tied == shared
    pictures = [cell is not None for cell in table.column("picture")]
    written = {path.read_bytes() for path in ran.glob("runs/rejection_sampling/*/figures/*.jpg")}
    assert pictures == sorted(pictures, reverse=True), "those with a picture first"
    assert sum(pictures) == len(written) > 1
    shown = [entry["path"] for entry in table.column("picture") if entry]
    assert {table.files[path].read_bytes() for path in shown} == written


def test_only_so_many_winners_whatever_their_order() -> None:
    row = {"winner": True, "candidate": 0, "text": "t", "refined": "t", "tied": 1.0}
    rows = [{**row, "id": f"{n}/0", "image_id": str(n)} for n in range(300)]
    rows.append({**row, "id": "300/1", "image_id": "300", "winner": False})
    lines = rewarded.winners(rows, {"299/0": Path("picture.jpg")})
    assert len(lines) == rewarded.MOST
    assert lines[0][:2] == ["299", Path("picture.jpg")]
    assert rewarded.winners(rows[::-1], {"299/0": Path("picture.jpg")}) == lines
    assert rewarded.winners([{"id": "a", "image_id": "a"}], {}) == []


def test_a_pushed_run_is_the_live_one(
    ran: Path, live: OfflineRun, tmp_path: Path, server: WandbServer
) -> None:
    shutil.copytree(ran / "runs" / "rejection_sampling", tmp_path / "runs" / "rejection_sampling")
    shutil.copytree(ran / "runs" / "scoring", tmp_path / "runs" / "scoring")
    lines = command("vlground.push", cwd=tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["created", "created"]
    (bucket,) = [b for b in server.buckets.values() if "reward/penalty" in b.summary]
    sent = {k: v for k, v in bucket.summary.items() if "/" in k and isinstance(v, int | float)}
    assert sent == {k: v for k, v in live.numbers.items() if "/" in k}
    for key in ("reward/histogram/nouns", "reward/histogram/penalty_total"):
        assert bucket.summary[key]["values"] == live.summary[key, "values"]
    files = [body for body in server.files.values() if body.startswith(b'{"columns"')]
    tables = [json.loads(body) for body in files]
    for key, count in (("reward/nouns", 2), ("reward/winners", 1)):
        held = live.table(key)
        found = [table["data"] for table in tables if table["columns"] == held.columns]
        words = [place for place, name in enumerate(held.columns) if name != "picture"]
        assert len(found) == count
        assert [[row[i] for i in words] for row in held.data] in [
            [[row[i] for i in words] for row in table] for table in found
        ], key
    drawn = {path.read_bytes() for path in tmp_path.rglob("figures/*.jpg")}
    assert drawn <= set(server.files.values())
    first, then = [one for one in server.artifacts if one.type == "results"]
    assert (first.owner == bucket.id, then.owner == bucket.id) == (False, True)
    assert first.users == [bucket.id], "rejection sampling shares the candidates of scoring"

    lines = command("vlground.push", cwd=tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["unchanged", "unchanged"]
    (path,) = tmp_path.glob("runs/scoring/*/results.json")
    before = Stored.read(path.parent).content()
    stored = json.loads(path.read_text())
    stored["reward"]["nouns"][0]["captions"] += 1
    path.write_text(json.dumps(stored))
    assert Stored.read(path.parent).content() != before, "what a table shows counts"


def test_tables_of_the_report(ran: Path, tmp_path: Path, result: dict[str, Any]) -> None:
    shutil.copytree(ran / "runs", tmp_path / "runs")
    printed = command("vlground.report", "--format=markdown", cwd=tmp_path)
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in printed.splitlines()
    ]
    (heads,) = [line for line in lines if line[:2] == ["arm", "n"]]
    assert heads[2:6] == ["CHAIRi ↓", "CHAIRs ↓", "recall ↑", "words"]
    for arm in ARMS:
        (line,) = [line for line in lines if line[0] == arm]
        score = result["scores"][f"{arm}/recall"]
        interval = f"{score['low']:.2f}–{score['high']:.2f}"
        assert line[heads.index("recall ↑")] == f"{score['value']:.3f} {interval}"
    counts = result["reward"]["counts"]
    told = f"ties {result['scores']['ties']['value']:.3f} ({counts['ties']})"
    assert told in printed
    assert f"pool global {result['reward']['pool']}" in printed
    assert (
        "4 of 72 candidates: a sentence or noun without a score (3); empty caption (1)" in printed
    )
    assert "scoring of candidates: captioner_file · captions · file · vigor" in printed
    assert [line for line in lines if line[:3] == ["n", "words", "sentences"]]
    assert "IO_ratio" not in printed, "nothing of grounding"


def result_like(seed: int, **choices: str) -> dict[str, Any]:
    score = {"value": 0.5, "low": None, "high": None, "n": 9}
    counts = {"samples": 9, "scored": 9, "skipped": {}, "flagged": {}, "annotations_left_out": {}}
    return {
        "task": "scoring",
        "choices": {"model": "m", "dataset": "d", "detector": "oracle", "reward": "r", **choices},
        "fingerprint": str(seed) * 16,
        "scores": {"undetected_nouns": score},
        "counts": counts,
        "overrides": [f"seed={seed}"],
    }


def test_runs_are_named_by_what_tells_them_apart() -> None:
    (block,) = reward_blocks([result_like(1, detector="owl"), result_like(2)])
    assert block.caption == "scoring of candidates: m · d · r"
    assert block.heads == ["run", "n", "undetected nouns ↓"]
    assert [row[0] for row in block.rows] == ["owl", "oracle"]
    (block,) = reward_blocks([result_like(1), result_like(2)])
    assert [row[0] for row in block.rows] == ["11111111", "22222222"]
    (block,) = reward_blocks([result_like(1)])
    assert block.rows == [["9", "0.500"]]
    assert reward_blocks([{"task": "grounding"}]) == []


def test_the_page_has_them_and_links_the_review(ran: Path, tmp_path: Path) -> None:
    shutil.copytree(ran / "runs", tmp_path / "runs")
    (run,) = (tmp_path / "runs" / "rejection_sampling").glob("*")
    (run / "review.html").write_text("<!DOCTYPE html>")
    runs = read(tmp_path / "runs")[0]
    found = re.search(r'id="data">(.*?)</script>', page(tmp_path, runs, [], []), re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert {one["choices"]["task"]: one["review"] for one in data["runs"]} == {
        "rejection_sampling": True,
        "scoring": False,
        "sampling": False,
    }
    assert all(one["rewarded"] and not one["noStrips"] for one in data["runs"])
    assert data["labels"]["refined/recall"] == "refined recall ↑"
    assert set(RECOMMENDED) <= set(data["recommended"])
    assert data["notes"] == "", "nothing of grounding"


def test_who_knows_the_truth_is_said() -> None:
    known = {"task": "rejection_sampling"}
    one = {**result_like(1, reward="none"), **known}
    both = {**result_like(1, detector="shapes_oracle", reward="simulated"), **known}
    real = {**result_like(1, detector="owl", reward="vigor"), **known}
    (block,) = reward_blocks([one])
    assert "detector=oracle answers from the truth that CHAIR reads" in " ".join(block.notes)
    (block,) = reward_blocks([both])
    assert "detector=shapes_oracle and reward=simulated answer from" in " ".join(block.notes)
    (block,) = reward_blocks([real])
    assert "the truth that CHAIR reads" not in " ".join(block.notes)
