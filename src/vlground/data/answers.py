"""Answers made elsewhere, joined to their questions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlground.data.records import Records, read_records, text_of
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

_ID = ("question_id", "id")
_TEXT = ("answer", "text", "response", "output", "model_answer")


@dataclass(frozen=True)
class Answers:
    """Answers to questions.

    Attributes:
        texts: Sample id -> answer, empty ones too; a question may have none.
        counts: What is odd -> how often: `no answer` (a question without), `no text`,
            `duplicate id` (the first one is taken), `unknown question`, `joined by order` (files
            without ids), and what the reader could not read.
        checksums: File's name -> SHA-256.
    """

    texts: Mapping[str, str]
    counts: Mapping[str, int]
    checksums: Mapping[str, str]


def read_answers(files: Mapping[str, Path], questions: Sequence[Sample]) -> Answers:
    """Read files of answers, in any order, and join them to questions by id.

    An answer is an object with `question_id` (or `id`) and `answer` (or `text`, `response`,
    `output`, `model_answer`). A file without ids, as POPE's script takes it, is joined by order; it
    has to have as many answers as there are questions.

    Args:
        files: Category -> file. One file that is named after none of the questions' categories
            answers all of them; ids then have to be unique over the categories.
        questions: Samples `<category>/<id>`, in the order of their files.

    Raises:
        VlgroundError: A file cannot be joined.
    """
    texts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    checksums: dict[str, str] = {}
    categories = {_split(sample.id)[0] for sample in questions}
    for category, path in files.items():
        read = read_records("dataset.answers", str(path))
        checksums[path.name] = read.checksum
        counts.update(read.skipped)
        asked = [
            s for s in questions if category not in categories or s.id.startswith(f"{category}/")
        ]
        ids = [text_of(record, _ID) for _, record in read.records]
        if any(ids):
            _join(read, ids, _by_id(path, asked), texts, counts)
        else:
            _line_up(read, asked, texts, counts)
    counts["no answer"] = sum(sample.id not in texts for sample in questions)
    return Answers(texts, {name: count for name, count in counts.items() if count}, checksums)


def _split(sample_id: str) -> tuple[str, str]:
    category, _, name = sample_id.partition("/")
    return category, name


def _by_id(path: Path, asked: Sequence[Sample]) -> dict[str, str]:
    """Id in the file -> sample id."""
    found: dict[str, str] = {}
    for sample in asked:
        name = _split(sample.id)[1]
        if name in found:
            raise VlgroundError(
                f"dataset.answers={path}: question {name} is one of several categories: "
                f"give a folder with a file for each, named after it"
            )
        found[name] = sample.id
    return found


def _join(
    read: Records,
    ids: Sequence[str | None],
    sample_of: Mapping[str, str],
    texts: dict[str, str],
    counts: Counter[str],
) -> None:
    for (_, record), name in zip(read.records, ids, strict=True):
        text = text_of(record, _TEXT)
        if name is None:
            counts["no id"] += 1
        elif name not in sample_of:
            counts["unknown question"] += 1
        elif text is None:
            counts["no text"] += 1
        elif sample_of[name] in texts:
            counts["duplicate id"] += 1
        else:
            texts[sample_of[name]] = text


def _line_up(
    read: Records, asked: Sequence[Sample], texts: dict[str, str], counts: Counter[str]
) -> None:
    if len(read.records) != len(asked):
        raise VlgroundError(
            f"dataset.answers={read.path}: {len(read.records)} answers without question_id for "
            f"{len(asked)} questions: which answers which?"
        )
    for sample, (place, record) in zip(asked, read.records, strict=True):
        question = text_of(record, ("question",))
        if question is not None and question.strip().lower() != sample.text.strip().lower():
            raise VlgroundError(
                f"dataset.answers={read.path}: {place} has no question_id and answers "
                f"{question!r}, not {sample.text!r}"
            )
        text = text_of(record, _TEXT)
        if text is None:
            counts["no text"] += 1
        else:
            texts[sample.id] = text
    counts["joined by order"] += len(asked)
