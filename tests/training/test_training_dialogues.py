"""Dialogues of files in LLaVA's format, and of drawn scenes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import NUMBERS, parse
from vlground.data.shapes.render import render
from vlground.data.shapes.scene import SHAPES, generator
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split
from vlground.training.dialogues import DialogueFiles, file_of
from vlground.training.shapes_dialogues import ShapesDialogues, ask, plural
from vlground.training.sources import mixture_of

ASKED = {"from": "human", "value": "<image>\nDescribe it."}


def record(name: str, *answers: str, image: str = "a.png") -> dict[str, Any]:
    turns = [turn for answer in answers for turn in (ASKED, {"from": "gpt", "value": answer})]
    return {"id": name, "image": image, "conversations": turns}


def write(folder: Path, records: Any, name: str = "llava.json") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "a.png")
    path = folder / name
    path.write_text(records if isinstance(records, str) else json.dumps(records))
    return str(path)


def test_a_file_gives_its_dialogues_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    records = [
        record("one", " A cat. "),
        record("two", "", "Yes"),
        record("three", "No", image="gone.png"),
        {**record("four", "No"), "image": None},
    ]
    read = DialogueFiles("task.data.file", [write(tmp_path, records)])
    assert [(d.id, d.question, d.answer) for d in read] == [
        ("one", "Describe it.", "A cat."),
        ("two", "Describe it.", "Yes"),
    ]
    assert read[0].image == tmp_path / "a.png"
    assert read.left_out == {"empty answer": 1, "no such image": 1, "no image": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ('{"id": 1}', "not in LLaVA's format"),
        ('[{"id": 1}]', "not in LLaVA's format"),
        ('[{"conversations": [{"from": "human"}]}]', "not in LLaVA's format"),
        ('["text"]', "not in LLaVA's format"),
    ],
)
def test_another_format_is_refused_by_name(tmp_path: Path, content: str, told: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(VlgroundError, match=told) as raised:
        DialogueFiles("task.data.file", [path])
    assert str(raised.value).startswith(f"task.data.file={path}: ")
    assert "\n" not in str(raised.value)


def test_a_run_is_named_by_its_fingerprint_or_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "rejection_sampling" / "captioner-voc-0123abcd"
    path = Path(write(run / "export", [record("one", "A cat.")]))
    assert file_of("task.data.file", "run:0123abcd99999999", tmp_path) == path
    assert file_of("task.data.file", str(run), tmp_path) == path
    with pytest.raises(VlgroundError, match="0 such runs"):
        file_of("task.data.file", "run:ffffffff", tmp_path)
    with pytest.raises(VlgroundError, match=r"no export/llava\.json"):
        file_of("task.data.file", str(tmp_path), tmp_path)


def options(**data: Any) -> dict[str, Any]:
    nothing = {"file": [], "root": None, "stream": None}
    return {"data": {**nothing, **data}, "questions": {**nothing, "share": 0.25}, "batch": 4}


def test_nothing_to_learn_from_ends_in_one_line(tmp_path: Path) -> None:
    emptied = write(tmp_path, [record("one", ""), record("two", " ")])
    with pytest.raises(VlgroundError, match=r"no dialogue to learn from.*empty answer \(2\)"):
        mixture_of(options(file=[emptied]), tmp_path, 0)
    with pytest.raises(VlgroundError, match=r"no dialogue to learn from; left out: nothing"):
        mixture_of(options(file=[write(tmp_path, [])]), tmp_path, 0)
    full = write(tmp_path, [record("one", "A cat.")])
    with pytest.raises(VlgroundError, match=r"task\.questions\.share=0\.25: no questions"):
        mixture_of(options(file=[full]), tmp_path, 0)
    with pytest.raises(VlgroundError, match="expected a list"):
        mixture_of(options(file=full), tmp_path, 0)


def test_captions_of_scenes_parse_and_err_as_often_as_told() -> None:
    errors = {"hallucination": 0.2, "attribute": 0.1}
    drawn = ShapesDialogues(3, 200, "Describe it.", errors)
    wrong = total = 0
    for one in drawn[:200]:
        scene = scene_of(one.id)
        assert isinstance(one.image, np.ndarray)
        assert (one.image == render(scene)).all()
        claims = [parse(sentence.content) for sentence in split(one.answer)]
        assert None not in claims, one.answer
        wrong += sum(bool(claim and claim.errors(scene)) for claim in claims)
        total += len(claims)
    assert abs(wrong / total - 0.3) < 0.05
    assert drawn[7].answer == ShapesDialogues(3, 9, "Describe it.", errors)[7].answer
    assert drawn[7].answer != ShapesDialogues(4, 9, "Describe it.", errors)[7].answer
    with pytest.raises(IndexError):
        drawn[200]


def test_questions_are_answered_rightly_and_as_often_yes_as_no() -> None:
    yes = checked = 0
    for number in range(600):
        scene = scene_of(f"shapes_captions/train/in/96/0.5/0/{number}")
        question, answer = ask(scene, generator(number))
        question = question.partition("?")[0]
        yes += answer == "Yes"
        shapes = [thing.shape for thing in scene.things]
        words = question.removesuffix(" in the image").split()
        if words[:2] in (["Is", "there"], ["Are", "there"]):
            shape = next(s for s in SHAPES if words[-1] in (s, plural(s)))
            found = [thing for thing in scene.things if thing.shape == shape]
            if words[2] in NUMBERS:
                truth = len(found) == NUMBERS.index(words[2]) + 1
            else:
                said = set(words[3:-1])
                truth = any(said <= {thing.colour, thing.size} for thing in found)
            assert answer == ("Yes" if truth else "No"), (question, shapes)
            checked += 1
        else:
            _, _, shape, *rest = words  # Is the star left of the diamond
            claim = parse(f"The {shape} is {' '.join(rest)}.")
            assert claim is not None, question
            assert answer == ("No" if claim.errors(scene) else "Yes"), (question, scene)
            checked += 1
    assert checked == 600
    assert 0.42 < yes / 600 < 0.58


def test_further_questions_of_a_scene_are_others_and_answered_rightly() -> None:
    alone, several = ShapesDialogues(3, 60), ShapesDialogues(3, 60, questions=6)
    yes = total = 0
    lengths = []
    for one, many in zip(alone[:], several[:], strict=True):
        turns = [(many.question, many.answer), *many.further]
        assert turns[0] == (one.question, one.answer)
        lengths.append(len(turns))
        assert len({question for question, _ in turns}) == len(turns)
        scene = scene_of(many.id.removesuffix("/question"))
        there = {thing.shape for thing in scene.things}
        asked = [question.partition("?")[0].split() for question, _ in turns]
        plain = [words[2] == "a" and words[3] in SHAPES for words in asked]
        for words, known, (_, answer) in zip(asked, plain, turns, strict=True):
            if known:
                assert answer == ("Yes" if words[3] in there else "No")
        assert len(set(plain)) == 1, "what else is asked would tell what is there"
        yes += sum(answer == "Yes" for _, answer in turns)
        total += len(turns)
    assert max(lengths) == 6
    assert np.mean(lengths) > 4
    assert 0.4 < yes / total < 0.6


def test_a_habit_tells_of_partners_that_are_not_there() -> None:
    habit = ShapesDialogues(3, 150, "Describe it.", habit=0.9, sentences=(3, 4))
    wrong, lengths = [], set()
    for one in habit[:]:
        scene = scene_of(one.id)
        claims = [parse(sentence.content) for sentence in split(one.answer)]
        lengths.add(len(claims))
        found = [claim.errors(scene) for claim in claims if claim is not None]
        assert set().union(*found) <= {"hallucination"}
        wrong.append(any(found))
    assert lengths == {3, 4}
    assert sum(wrong) > 0.25 * len(wrong)
    plain = ShapesDialogues(3, 150, "Describe it.", sentences=(3, 4))
    assert not any(
        parse(sentence.content).errors(scene_of(one.id))  # type: ignore[union-attr]
        for one in plain[:]
        for sentence in split(one.answer)
    )
