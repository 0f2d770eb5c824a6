"""The tables of arms: what stands in them, and when a claim of the paper is said to hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import CONJECTURES
from vlground.page.reading import Run, read
from vlground.report import collect
from vlground.reporting.block import Block
from vlground.reporting.printing import markdown
from vlground.reporting.tuning_blocks import tuning_blocks
from vlground.reporting.tuning_ranks import ranks
from vlground.reporting.tuning_scores import settings

SCENES = 60
# Arm -> share of wrong sentences, of four; and of yes-or-no answers that are right.
WRONG = {"base": 0.6, "human": 0.5, "automatic": 0.4, "all": 0.2, "unrefined": 0.4}
LEARNT = {"images": 40, "emptied": 3, "sentences_removed": 9, "ties": 11}
BASES = ("one", "other", "third")


def claims(arm: str, base: str) -> pandas.DataFrame:
    rng = np.random.default_rng([BASES.index(base), 1])
    data = ShapesCaptions(SCENES, "test", "in", "plain", 96, seed=1)
    luck = rng.random((SCENES, 4))
    lines = []
    for number in range(SCENES):
        scene = scene_of(data[number].image_id)
        wrong = luck[number] < WRONG[arm]
        shapes = [thing.shape for thing in scene.things]
        true = f"There is a {scene.things[0].size} {scene.things[0].colour} {shapes[0]}."
        said = [CONJECTURES[k] if bad else true for k, bad in enumerate(wrong)]
        lines.append((scene.name, " ".join(said), int(wrong.sum()), 4 - int(wrong.sum())))
    rows = pandas.DataFrame(lines, columns=["image_id", "text", "wrong", "mentions"])
    fixed = {"hallucinated": 0, "objects": 3, "found": 1, "words": 20, "sentences": 4}
    return rows.assign(**fixed, unparsed=0, id=rows["image_id"])


def pope(arm: str, base: str) -> pandas.DataFrame:
    rng = np.random.default_rng([BASES.index(base), 2])
    images = [f"shapes_captions/test/in/96/0.5/1/{n}" for n in range(SCENES)]
    lines = [(i, c, y) for i in images for c in ("popular", "random") for y in ("yes", "no")]
    rows = pandas.DataFrame(lines, columns=["image_id", "category", "label"])
    right = rng.random(len(rows)) < (0.95 if arm == "all" else 0.6)
    kinds = {("yes", True): "tp", ("yes", False): "fn", ("no", True): "tn", ("no", False): "fp"}
    rows["outcome"] = [kinds[key] for key in zip(rows["label"], right, strict=True)]
    return rows.assign(id=[str(n) for n in range(len(rows))])


def write(runs: Path, arm: str, base: str, **options: Any) -> None:
    """As the task writes it."""
    parts = {"sampled": claims(arm, base), "pope": pope(arm, base)}
    named = [
        rows.assign(benchmark=name, id=[f"{name}/{one}" for one in rows["id"]], flag="")
        for name, rows in parts.items()
    ]
    table = pandas.concat(named, ignore_index=True)
    lost = {"id": "sampled/lost", "image_id": "lost", "flag": "time-out", "benchmark": "sampled"}
    table = pandas.concat([table, pandas.DataFrame([lost])], ignore_index=True)
    folder = runs / "rejection_finetuning" / f"{base}-{arm}-{options.get('steps', 0)}"
    folder.mkdir(parents=True)
    table.assign(skipped=None).to_parquet(folder / "rows.parquet")
    reads = {"model": base, "task": {"arm": arm, "steps": 160, **options}, "reward": "mini_reward"}
    results = {
        "task": "rejection_finetuning",
        "choices": {"model": base, "dataset": "shapes_captions", "task": "rejection_finetuning"},
        "experiment": "vigor_shapes",
        "fingerprint": f"{arm}{base}{options}",
        "identity": {
            "stage": {"reads": reads, "checksums": {"model.pretrained": base, "reward.file": "r"}},
            "data": "d",
        },
        "overrides": [
            f"task.arm={arm}",
            f"model={base}",
            *(f"task.{k}={v}" for k, v in options.items()),
        ],
        "scores": {"pope/f1": {"value": 0.5, "low": None, "high": None, "n": 4}},
        "counts": {"samples": 1, "scored": 1, "skipped": {}, "flagged": {}},
        "rejection_finetuning": {
            "arm": arm,
            "benchmarks": {"pope": "pope", "sampled": "claims"},
            "selection": [] if arm == "base" else [LEARNT],
            "training": [] if arm == "base" else [{"dialogues": 37, "steps": 160}],
        },
    }
    (folder / "results.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arms") / "runs"
    for base in BASES:
        for arm in WRONG:
            if (arm, base) != ("unrefined", "third"):
                write(folder, arm, base)
    write(folder, "base", "one", steps=20)  # another setting
    return folder


def found(runs: Path) -> list[Run]:
    return read(runs)[0]


def named(blocks: list[Block], beginning: str) -> Block:
    return next(block for block in blocks if block.caption.startswith(beginning))


def test_runs_of_one_setting_are_put_together_and_means_are_over_bases(runs: Path) -> None:
    one, other = sorted(settings(found(runs)), key=lambda setting: -len(setting.runs))
    assert list(one.runs) == ["base", "human", "automatic", "all", "unrefined"]
    assert one.bases == list(BASES)
    assert one.missing == ["unrefined of third"]
    assert list(other.runs) == ["base"]
    wrong = one.found["all:sampled/wrong_sentences"]
    expected = {base: claims("all", base)["wrong"].sum() / (4 * SCENES) for base in BASES}
    assert {base: estimate.value for base, estimate in wrong.each.items()} == pytest.approx(
        expected
    )
    assert wrong.mean.value == pytest.approx(np.mean(list(expected.values())))
    paired = one.found["all − base:sampled/wrong_sentences"]
    before = {base: claims("base", base)["wrong"].sum() / (4 * SCENES) for base in BASES}
    change = {base: expected[base] - before[base] for base in BASES}
    assert {base: estimate.value for base, estimate in paired.each.items()} == pytest.approx(change)
    assert list(one.found["all − unrefined:sampled/wrong_sentences"].each) == ["one", "other"]


def test_the_judge_ranks_as_the_captions_are(runs: Path) -> None:
    captions = {arm: claims(arm, "one") for arm in ("base", "human", "automatic", "all")}
    images = list(captions["all"]["image_id"])
    whole = np.ones((1, SCENES))
    placed = {arm: one.of(whole)[0] for arm, one in ranks(captions, images).items()}
    assert list(placed) == ["base", "human", "automatic", "all"]
    assert sum(placed.values()) == pytest.approx(10)
    assert placed["all"] < placed["automatic"] < placed["human"] < placed["base"]
    del captions["human"]
    assert ranks(captions, images) == {}


def test_claims_hold_fail_or_are_not_decided(runs: Path) -> None:
    table = named(tuning_blocks([r for r in found(runs) if "-20" not in r.path]), "the paper's")
    verdicts = {row[0]: row[3] for row in table.rows}
    assert verdicts == {
        "mean rank: all before automatic": "holds here",
        "mean rank: automatic before human": "holds here",
        "mean rank: human before base": "holds here",
        "both branches beat the automatic one": "holds here",
        "both branches beat the human one": "holds here",
        "fine-grained beats holistic": "not measured",
        "POPE F1 rises": "holds here",
        "refinement helps": "holds here",
    }
    assert any("Drawn scenes and miniatures" in note for note in table.notes)
    swapped = [swap(run) for run in found(runs) if "-20" not in run.path]
    table = named(tuning_blocks(swapped), "the paper's")
    verdicts = {row[0]: row[3] for row in table.rows}
    assert verdicts["both branches beat the automatic one"] == "does not"
    assert verdicts["POPE F1 rises"] == "not decided"


def swap(run: Run) -> Run:
    """What all branches made is called automatic, and the other way round."""
    names = {"all": "automatic", "automatic": "all"}
    told = run.results["rejection_finetuning"]
    results = {
        **run.results,
        "rejection_finetuning": {**told, "arm": names.get(told["arm"], told["arm"])},
    }
    return Run(run.path, run.folder, results, run.rows, run.problem)


def reweighed(run: Run) -> Run:
    """By a reward model that was trained again."""
    stage = run.results["identity"]["stage"]
    again = {**stage, "checksums": {**stage["checksums"], "reward.file": "other"}}
    results = {**run.results, "identity": {**run.results["identity"], "stage": again}}
    return Run(run.path, run.folder, results, run.rows, run.problem)


def test_tables_show_the_mean_and_each_base_and_the_world(runs: Path) -> None:
    blocks = tuning_blocks([r for r in found(runs) if "-20" not in r.path])
    captions = [block.caption for block in blocks]
    assert captions == [
        "arms (shapes, miniatures): sampled",
        "arms (shapes, miniatures): pope",
        "differences of arms (shapes, miniatures)",
        "what arms learn from (shapes, miniatures)",
        "the paper's claims (shapes, miniatures)",
    ]
    assert [row[:2] for row in blocks[0].rows[:5]] == [
        ["base", "mean of 3"],
        ["", "one"],
        ["", "other"],
        ["", "third"],
        ["human", "mean of 3"],
    ]
    assert all(len(row) == len(block.heads) for block in blocks for row in block.rows)
    assert any("not there: unrefined of third" in note for note in blocks[0].notes)
    assert any("One base" not in note for note in blocks[0].notes)
    learnt = named(blocks, "what arms learn from")
    assert learnt.rows[0] == ["human", "one", "40", "37", "3", "9", "11", "160"]
    both = [block.caption for block in tuning_blocks(found(runs))]
    assert "arms (shapes, miniatures, task.steps=20): sampled" in both
    kind = ("arms (shapes, miniatures, 1): pope", "arms (shapes, miniatures, 2): pope")
    twice = [*found(runs), *map(reweighed, found(runs))]
    alike = [block.caption for block in tuning_blocks([r for r in twice if "-20" not in r.path])]
    assert [one for one in alike if one.endswith("pope")] == list(kind)
    text = markdown(collect(runs), extra=blocks)
    assert text.count("the paper's claims") == 1
    assert "IO_ratio" not in text
