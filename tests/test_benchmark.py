"""task=benchmark as a user runs it, on small files and on the real captions."""

import json
from pathlib import Path

import pandas
import pytest

from tests.cli import command, results, vlground
from vlground.tracking import flat_scores

LVLM = Path(__file__).parents[2] / "shared" / "data" / "pope"
QUICK = ("task=benchmark", "logger=none")
CAPTIONS = [
    {"image_id": "1", "caption": "A dog on a couch. A cat sleeps."},
    {"image_id": "1", "caption": ""},
    {"image_id": "2", "caption": "Two people ride bikes."},
    {"image_id": "9", "caption": "Nobody knows this image."},
]
OBJECTS = {"1": ["dog", "couch", "tv"], "2": ["person"]}


def captions(folder: Path) -> tuple[str, ...]:
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, CAPTIONS)))
    (folder / "objects.json").write_text(json.dumps(OBJECTS))
    return (*QUICK, "dataset=captions", "dataset.captions=captions.jsonl", "metric=chair")


def test_captions_are_scored_and_everything_is_counted(tmp_path: Path) -> None:
    options = (*captions(tmp_path), "dataset.objects=objects.json")
    vlground(*options, cwd=tmp_path)
    (result,) = results(tmp_path / "runs")
    scores = {name: round(one["value"], 4) for name, one in result["scores"].items()}
    # dog, couch, cat; nothing; people, bikes. Of 3, 3 and 1 true objects 2, 0 and 1 are named.
    assert scores == {"chair_i": 0.4, "chair_s": 0.6667, "recall": 0.4286, "words": 4.0}
    assert result["counts"]["annotations_left_out"] == {
        "image without objects in dataset.objects": 1
    }
    assert result["benchmark"]["tally"]["empty"] == 1
    wrong = [place["hallucinated"]["value"] for place in result["benchmark"]["sentences"]]
    assert wrong == [0.5, 1.0], "the cat comes second"
    assert flat_scores(result)["chair/recall"] == result["scores"]["recall"]["value"]
    told = command("vlground.report", "runs", "--format", "markdown", "--no-page", cwd=tmp_path)
    assert "**chair**" in told
    assert "0.400" in told
    assert "done already" in vlground(*options, cwd=tmp_path)
    (tmp_path / "objects.json").write_text(json.dumps({**OBJECTS, "2": ["person", "bicycle"]}))
    vlground(*options, cwd=tmp_path)
    assert len(results(tmp_path / "runs")) == 2, "what is in the files counts, not their names"


@pytest.mark.slow  # by the command, several times
def test_what_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    said = vlground(*captions(tmp_path), cwd=tmp_path, code=1)
    assert "dataset.objects: metric=chair has to know which objects images hold" in said
    said = vlground(*captions(tmp_path)[:-1], "metric=pope", cwd=tmp_path, code=1)
    assert "metric=pope: expected dataset=questions" in said
    said = vlground(*captions(tmp_path)[:-1], "metric=q_groundcam", cwd=tmp_path, code=1)
    assert "task=benchmark is scored by chair, claims, pope, mme, mmhal or preference" in said


def test_answers_are_joined_by_id_and_read_by_the_policy(tmp_path: Path) -> None:
    asked = [
        {"question_id": n, "image": f"{n // 2}.jpg", "text": "Is there a dog in the image?"}
        | {"label": "yes" if n % 2 else "no"}
        for n in range(6)
    ]
    (tmp_path / "coco_pope_random.json").write_text("\n".join(map(json.dumps, asked)))
    said = ["Yes, there is.", "Yes", "No.", "maybe", "no"]
    given = [{"question_id": n, "answer": text} for n, text in enumerate(said)]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, given[::-1])))
    files = ("dataset.questions=coco_pope_random.json", "dataset.answers=answers.jsonl")
    options = (*QUICK, "dataset=questions", *files, "metric=pope")
    vlground("-m", *options, "metric.policy=official,strict", cwd=tmp_path)
    found = {
        result["identity"]["metric"]["policy"]: result for result in results(tmp_path / "runs")
    }
    official, strict = found["official"], found["strict"]
    assert official["scores"]["random/yes_ratio"]["value"] == pytest.approx(3 / 5)
    assert official["scores"]["random/accuracy"]["value"] == pytest.approx(4 / 5)
    assert strict["scores"]["random/accuracy"]["value"] == pytest.approx(2 / 5)
    assert official["counts"]["flagged"] == {"no answer": 1}
    table = pandas.concat([pandas.read_parquet(p) for p in tmp_path.rglob("rows.parquet")])
    assert len(table) == 12


@pytest.mark.skipif(not LVLM.is_dir(), reason="no captions of real models beside the checkout")
def test_real_captions_score_as_published(tmp_path: Path) -> None:
    vlground(
        "experiment=chair_lvlm_captions",
        f"lvlm.folder={LVLM}",
        "lvlm.instruction=2",
        "logger=none",
        cwd=tmp_path,
    )
    found = {}
    for result in results(tmp_path / "runs"):
        (name,) = [one for one in result["overrides"] if one.startswith("lvlm.name=")]
        values = [result["scores"][score]["value"] for score in ("chair_i", "chair_s", "recall")]
        found[name.split("=")[1]] = [round(100 * value, 1) for value in values]
    assert found == {
        "llava": [10.5, 32.7, 68.0],
        "minigpt-4": [6.7, 9.5, 48.8],
        "mplug": [14.8, 25.4, 46.8],
    }
