"""Questions of POPE and MME, answers joined to them, and corrected labels."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from vlground.data.questions import Questions
from vlground.errors import VlgroundError
from vlground.run import CONF
from vlground.testing import check_dataset

SHARED = Path(__file__).parents[3] / "shared" / "data" / "pope"
THINGS = ["dog", "cat", "apple", "kite", "bus", "orange"]


def records(images: int = 2, first: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "question_id": first + 6 * image + k,
            "image": f"COCO_val2014_{image:012}.jpg",
            "text": f"Is there {'an' if thing[0] in 'ao' else 'a'} {thing} in the image?",
            "label": ("yes", "no")[k % 2],
        }
        for image in range(images)
        for k, thing in enumerate(THINGS)
    ]


def lines(path: Path, entries: list[Any]) -> str:
    path.write_text("\n".join(json.dumps(entry) for entry in entries) + "\n")
    return str(path)


def pope(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    for split in ("random", "popular", "adversarial"):
        lines(folder / f"coco_pope_{split}.json", records())
    lines(folder / "other.json", [{"a": 1}])  # no file of questions
    return str(folder)


def test_a_folder_of_splits(tmp_path: Path) -> None:
    data = Questions(pope(tmp_path))
    assert len(data) == 36
    assert {s.id.split("/")[0] for s in data} == {"random", "popular", "adversarial"}
    assert data[0].label == "yes"
    assert data.skipped == {}
    name = "coco_pope_random.json"
    checksum = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert data.checksums[f"questions/{name}"] == checksum


def test_a_file_and_its_category(tmp_path: Path) -> None:
    assert Questions(lines(tmp_path / "Popular.jsonl", records()))[0].id == "popular/1"
    assert Questions(lines(tmp_path / "mine.json", records()))[0].id == "mine/1"
    own = [{**record, "category": "adversarial"} for record in records()]
    assert Questions(lines(tmp_path / "llava.jsonl", own))[0].id == "adversarial/1"
    path = tmp_path / "random.json"
    path.write_text(json.dumps(records(), indent=1))  # those for A-OKVQA and GQA are lists
    assert len(Questions(str(path))) == 12


@pytest.mark.parametrize("seed", range(3))
def test_answers_in_any_order_are_joined_by_id(tmp_path: Path, seed: int) -> None:
    given = [{"question_id": r["question_id"], "text": f"to {r['question_id']}"} for r in records()]
    np.random.default_rng(seed).shuffle(given)  # type: ignore[arg-type]
    data = Questions(
        lines(tmp_path / "random.json", records()), lines(tmp_path / "answers.jsonl", given)
    )
    assert data.answers == {f"random/{i}": f"to {i}" for i in range(1, 13)}
    assert data.answer_counts == {}
    assert set(data.checksums) == {"questions/random.json", "answers/answers.jsonl"}


def test_a_folder_of_answers(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    for split in ("popular", "random"):
        given = [{"question_id": r["question_id"], "answer": split} for r in records()]
        lines(folder / f"{split}_answers.jsonl", given)
    data = Questions(pope(tmp_path / "questions"), str(folder))
    assert data.answers["popular/3"] == "popular"
    assert data.answers["random/3"] == "random"
    assert "adversarial/3" not in data.answers
    assert data.answer_counts == {"no answer": 12}


def test_one_file_for_all_splits_needs_ids_that_are_unique(tmp_path: Path) -> None:
    both = [{**r, "category": "random"} for r in records()]
    both += [{**r, "category": "popular"} for r in records(first=100)]
    given = [{"question_id": r["question_id"], "answer": str(r["question_id"])} for r in both]
    answers = lines(tmp_path / "answers.jsonl", given)
    data = Questions(lines(tmp_path / "all.jsonl", both), answers)
    assert data.answers["popular/100"] == "100"
    assert data.answer_counts == {}
    with pytest.raises(VlgroundError, match=r"question 1 is one of several categories"):
        Questions(pope(tmp_path / "questions"), answers)


def test_what_is_odd_about_answers_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    lines(
        path,
        [
            {"question_id": 1, "answer": "yes"},
            {"question_id": 1, "answer": "no"},
            {"question_id": "2", "answer": ""},  # an answer all the same
            {"question_id": 3, "answer": None},
            {"question_id": 999, "answer": "no"},
            {"answer": "no"},
            {"question_id": 4, "answer": "🐶"},
        ],
    )
    with path.open("a") as file:
        file.write('{"question_id": 5, "answ')
    data = Questions(lines(tmp_path / "random.json", records(1)), str(path))
    assert data.answers == {"random/1": "yes", "random/2": "", "random/4": "🐶"}
    assert data.answer_counts == {
        "torn end": 1,
        "duplicate id": 1,
        "no text": 1,
        "unknown question": 1,
        "no id": 1,
        "no answer": 3,
    }


def test_answers_without_ids_are_joined_by_order(tmp_path: Path) -> None:
    questions = lines(tmp_path / "random.json", records(1))
    given = [{"question": r["text"].lower(), "answer": str(i)} for i, r in enumerate(records(1))]
    data = Questions(questions, lines(tmp_path / "answers.json", given))
    assert [data.answers[f"random/{i + 1}"] for i in range(6)] == list("012345")
    assert data.answer_counts == {"joined by order": 6}
    with pytest.raises(VlgroundError, match="5 answers without question_id for 6 questions"):
        Questions(questions, lines(tmp_path / "answers.json", given[:5]))
    given[0], given[1] = given[1], given[0]
    with pytest.raises(VlgroundError, match="line 1 has no question_id and answers"):
        Questions(questions, lines(tmp_path / "answers.json", given))


def test_order_is_that_of_the_file_and_not_of_the_samples(tmp_path: Path) -> None:
    mixed = [records()[i] for i in (0, 6, 1, 7)]  # images by turns
    data = Questions(
        lines(tmp_path / "random.json", mixed),
        lines(tmp_path / "answers.json", [{"answer": str(i)} for i in (1, 7, 2, 8)]),
    )
    assert [s.id for s in data] == ["random/1", "random/2", "random/7", "random/8"]
    assert data.answers == {f"random/{i}": str(i) for i in (1, 2, 7, 8)}


def test_corrected_labels_beside(tmp_path: Path) -> None:
    questions = pope(tmp_path / "questions")
    folder = tmp_path / "repope"
    folder.mkdir()
    corrected = [{**record, "label": "no"} for record in records()[:4]]
    corrected[2] |= {"question_id": 77, "text": "Is there an apple in the imange?"}
    corrected.append({**records()[5], "text": "Is there a zebra in the image?"})
    lines(folder / "repope_popular.json", corrected)
    data = Questions(questions, relabelled=str(folder))
    assert data.relabelled == {f"popular/{i}": "no" for i in (1, 2, 3, 4)}
    assert {s.id: s.label for s in data}["popular/1"] == "yes"  # its own label stays
    assert "relabelled/repope_popular.json" in data.checksums


def test_faults_of_questions_are_counted(tmp_path: Path) -> None:
    bad = [
        *records(1),
        records(1)[0],
        {**records(1)[1], "question_id": 50, "label": "maybe"},
        {**records(1)[1], "question_id": 51, "text": " "},
        {"question_id": 52, "text": "Is there a dog in the image?", "label": "yes"},
    ]
    data = Questions(lines(tmp_path / "random.json", bad))
    assert len(data) == 6
    assert data.skipped == {
        "duplicate id": 1, "no label (yes or no)": 1, "no question": 1, "no image": 1,
    }  # fmt: skip


def test_mme_files(tmp_path: Path) -> None:
    (tmp_path / "OCR.txt").write_text(
        "0001.jpg\tIs it? Please answer yes or no.\tYes\tYes, it is\n"
        "0001.jpg\tIs it not?\tNo\tno\ttabs\u2028too\n"
        "broken\n"
        "\n"
        "0002.jpg\tIs it?\tNo\n"
        "0002.jpg\tIs it?\tYes\t\r\n"
    )
    (tmp_path / "count.txt").write_text("0001.jpg\tTwo?\tNo\tNo")
    data = Questions(str(tmp_path))
    assert data.skipped == {"too few fields": 1, "empty line": 1}
    # Numbers are those of lines, so that a broken one does not shift the pairs after it.
    assert [s.id for s in data] == ["OCR/0", "OCR/1", "OCR/4", "OCR/5", "count/0"]
    assert data.answers == {
        "OCR/0": "Yes, it is", "OCR/1": "no\ttabs\u2028too", "OCR/5": "", "count/0": "No",
    }  # fmt: skip
    assert data[0].image_id != data[4].image_id  # tasks number their images alike


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"dataset\.questions=None: expected a file, or a"):
        Questions(None)
    with pytest.raises(VlgroundError, match=r"dataset\.questions=.*expected a file, or a folder"):
        Questions(str(tmp_path))
    empty = tmp_path / "random.json"
    empty.write_text("")
    with pytest.raises(VlgroundError, match=r"no question: empty"):
        Questions(str(empty))
    questions = lines(tmp_path / "random.json", records())
    with pytest.raises(VlgroundError, match=r"dataset\.answers=nowhere"):
        Questions(questions, "nowhere")
    with pytest.raises(VlgroundError, match=r"dataset\.relabelled=nowhere"):
        Questions(questions, relabelled="nowhere")
    lines(tmp_path / "random_2.json", records())
    with pytest.raises(
        VlgroundError, match=r"two files of random: random\.json and random_2\.json"
    ):
        Questions(str(tmp_path))


def test_images_that_are_asked_for(tmp_path: Path) -> None:
    for name in ("000000000000", "000000000001"):
        Image.new("RGB", (8, 6)).save(tmp_path / f"COCO_val2014_{name}.jpg")
    data = Questions(pope(tmp_path / "questions"), root=str(tmp_path))
    assert len(data) == 36
    check_dataset(data)  # samples of an image follow each other, over the splits too
    (tmp_path / "COCO_val2014_000000000001.jpg").unlink()
    data = Questions(str(tmp_path / "questions"), root=str(tmp_path))
    assert len(data) == 18
    assert data.skipped == {"image not in dataset.root": 18}


def test_images_of_mme_lie_in_the_folder_of_their_task(tmp_path: Path) -> None:
    for name in ("count/1.jpg", "OCR/images/1.jpg", "2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "questions").mkdir()
    for task in ("count", "OCR"):
        asked = [f"{n}.jpg\tIs it?\t{label}" for n in (1, 2, 3) for label in ("Yes", "No")]
        (tmp_path / "questions" / f"{task}.txt").write_text("\n".join(asked))
    data = Questions(str(tmp_path / "questions"), root=str(tmp_path))
    found = {sample.id: sample.image for sample in data}
    assert found["count/0"] == tmp_path / "count" / "1.jpg"
    assert found["OCR/1"] == tmp_path / "OCR" / "images" / "1.jpg"
    assert found["OCR/2"] == found["count/3"] == tmp_path / "2.jpg"
    assert data.skipped == {"image not in dataset.root": 4}


@pytest.mark.shared
def test_official_files() -> None:
    if not SHARED.is_dir():
        pytest.skip("the folder of real data (pope) is not beside the checkout")
    data = Questions(str(SHARED))
    assert data.skipped == {}
    for split in ("random", "popular", "adversarial"):
        asked = [s for s in data if s.id.startswith(split)]
        assert len(asked) == 3000
        assert sum(s.label == "yes" for s in asked) == 1500
        assert len({s.image_id for s in asked}) == 500
    again = Questions(str(SHARED), relabelled=str(SHARED))
    assert again.relabelled == {s.id: s.label for s in data}  # every question finds itself


def test_configuration(tmp_path: Path) -> None:
    config = OmegaConf.load(Path(CONF) / "dataset" / "questions.yaml")
    config.questions = pope(tmp_path)
    assert len(instantiate(config)) == 36
