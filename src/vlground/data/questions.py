"""Yes-or-no questions about images (POPE, RePOPE, MME), with the answers somebody gave."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlground.data.answers import read_answers
from vlground.data.records import (
    Records,
    image_id_of,
    image_path,
    read_records,
    read_tabs,
    tell,
    text_of,
)
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

SPLITS = ("random", "popular", "adversarial")
# The older questions ask "Is there an apple in the imange?".
_OBJECT = re.compile(r"(?i)\s*is there an? (.+?) in the iman?ge\?\s*")
_MME = ("image", "text", "label", "answer")
_FORMAT = ".json or .jsonl files named after random, popular and adversarial, or .txt files of MME"


@dataclass(frozen=True)
class QuestionFile:
    """The questions of one file.

    Attributes:
        records: The file as it was read.
        samples: Its questions, in order.
        answers: Sample id -> answer, of the questions that come with one.
        skipped: Reason -> number of records that became no sample.
    """

    records: Records
    samples: tuple[Sample, ...]
    answers: Mapping[str, str]
    skipped: Mapping[str, int]


class Questions:
    """Questions as samples: text the question, label yes or no, id `<category>/<number>`.

    POPE: objects with `question_id`, `image`, `text` and `label`, in JSON lines (official), a list,
    or one after the other. The category is what the record has as `category`, or which of random,
    popular and adversarial the file's name has, or else that name. MME: a `<task>.txt` for each
    task, a question a line: image, question, label and, if you like, answer between tabs; numbered
    from 0, so that 2k and 2k + 1 belong together (official).

    Samples of one image follow each other. A question is left out, counted and named in the log if
    it lacks a text, an image or a label, has the id of another one, or its image is not in `root`.

    Args:
        questions: A file, or a folder with one for each category.
        answers: A file, or a folder with one for each category, see `vlground.data.answers`; None:
            a model is to answer, or the questions come with answers.
        relabelled: Questions with corrected labels (RePOPE, arXiv 2504.15707), for scores beside
            the others; questions that it lacks are ambiguous.
        root: Folder of the images (MME's may lie in `<task>/` or `<task>/images/` of it), for what
            needs to see them; None: they are not looked for.

    Attributes:
        skipped: Reason -> number of records that became no sample.
        answers: Sample id -> answer; a question may have none.
        answer_counts: What is odd about the answers -> how often.
        relabelled: Sample id -> corrected label; empty without the option.
        checksums: Option and name of the file -> SHA-256. POPE's files exist in several versions.

    Raises:
        VlgroundError: A file is not there or not in the format, or no question is left.
    """

    def __init__(
        self,
        questions: str | None,
        answers: str | None = None,
        relabelled: str | None = None,
        root: str | None = None,
    ) -> None:
        files = read_questions("dataset.questions", questions, root)
        self.skipped: Mapping[str, int] = sum((Counter(f.skipped) for f in files), Counter())
        self.checksums = {f"questions/{f.records.path.name}": f.records.checksum for f in files}
        asked = [sample for file in files for sample in file.samples]
        if not asked:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in self.skipped.items())
            raise VlgroundError(f"dataset.questions={questions}: no question: {reasons or 'empty'}")
        images: dict[str, list[Sample]] = {}
        for sample in asked:
            images.setdefault(sample.image_id, []).append(sample)
        self._samples = [sample for samples in images.values() for sample in samples]
        self.answers: Mapping[str, str] = {k: v for f in files for k, v in f.answers.items()}
        self.answer_counts: Mapping[str, int] = {}
        if answers is not None:
            read = read_answers(files_of("dataset.answers", answers), asked)
            self.answers, self.answer_counts = read.texts, read.counts
            self.checksums |= {f"answers/{name}": value for name, value in read.checksums.items()}
        self.relabelled: Mapping[str, str] = {}
        if relabelled is not None:
            corrected = read_questions("dataset.relabelled", relabelled)
            self.relabelled = joined_labels(asked, corrected)
            self.checksums |= {
                f"relabelled/{f.records.path.name}": f.records.checksum for f in corrected
            }

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def read_questions(option: str, value: str | None, root: str | None = None) -> list[QuestionFile]:
    """Read the questions of a file, or of every file of a folder.

    Args:
        option: That names it, for messages.
        value: The file or folder.
        root: Folder of the images; None: they are not looked for.

    Raises:
        VlgroundError: Nothing of the kind is there.
    """
    taken: set[str] = set()
    return [
        _question_file(option, path, category, root, taken)
        for category, path in files_of(option, value).items()
    ]


def files_of(option: str, value: str | None) -> dict[str, Path]:
    """Category -> file: a file, or those of a folder that are named after a category.

    Raises:
        VlgroundError: There is none, or two of one category.
    """
    path = Path(value or "").expanduser()
    if value is not None and path.is_file():
        return {_category(path): path}
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()) if value is not None and path.is_dir() else ():
        category = _category(file)
        if file.suffix == ".txt" or (file.suffix in (".json", ".jsonl") and category in SPLITS):
            if category in found:
                both = f"{found[category].name} and {file.name}"
                raise VlgroundError(f"{option}={value}: two files of {category}: {both}")
            found[category] = file
    if not found:
        raise VlgroundError(f"{option}={value}: expected a file, or a folder with {_FORMAT}")
    return found


def _category(path: Path) -> str:
    return next((split for split in SPLITS if split in path.stem.lower()), path.stem)


def _question_file(
    option: str, path: Path, category: str, root: str | None, taken: set[str]
) -> QuestionFile:
    tabs = path.suffix == ".txt"
    records = read_tabs(path, _MME) if tabs else read_records(option, str(path))
    samples: list[Sample] = []
    answers: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    for number, (place, record) in enumerate(records.records):
        made = _sample(record, category, str(number), root)
        if tabs and isinstance(made, Sample):  # the tasks of MME number their images alike
            made = replace(made, image_id=f"{category}/{made.image_id}")
        if isinstance(made, Sample) and made.id in taken:
            made = "duplicate id"
        if isinstance(made, str):
            left_out.append((place, made))
            continue
        taken.add(made.id)
        samples.append(made)
        answer = text_of(record, ("answer",))
        if answer is not None:
            answers[made.id] = answer
    tell(path, left_out)
    skipped = Counter(records.skipped) + Counter(reason for _, reason in left_out)
    return QuestionFile(records, tuple(samples), answers, skipped)


def _sample(
    record: Mapping[str, Any], category: str, number: str, root: str | None
) -> Sample | str:
    """The sample of a record, or why it is none."""
    text, image_id = text_of(record, ("text", "question")), image_id_of(record)
    label = (text_of(record, ("label",)) or "").strip().lower()
    if text is None or not text.strip():
        return "no question"
    if image_id is None:
        return "no image"
    if label not in ("yes", "no"):
        return "no label (yes or no)"
    image = _image(root, record, image_id, category)
    if image is None:
        return "image not in dataset.root"
    category = text_of(record, ("category",)) or category
    name = text_of(record, ("question_id", "id")) or number
    return Sample(f"{category}/{name}", image_id, image, text, label=label)


def _image(
    root: str | None, record: Mapping[str, Any], image_id: str, category: str
) -> Path | None:
    """Where an image lies: in the folder, or as MME's in one of its task; None: nowhere."""
    named = image_path(root, record, image_id)
    folder = named.parent / category
    places = (named, folder / named.name, folder / "images" / named.name)
    return named if root is None else next((path for path in places if path.is_file()), None)


def joined_labels(asked: Sequence[Sample], corrected: Sequence[QuestionFile]) -> dict[str, str]:
    """Corrected labels of questions, joined by category, image and object (numbers may differ).

    Args:
        asked: The questions.
        corrected: Files of questions with corrected labels; one that is named after no category of
            the questions holds for all of them.

    Returns:
        Sample id -> label, of the questions that have one.
    """
    labels = {_key(sample): sample.label for file in corrected for sample in file.samples}
    found = {sample.id: labels.get(_key(sample)) for sample in asked}
    return {name: label for name, label in found.items() if label is not None}


def _key(sample: Sample) -> tuple[str, str, str]:
    """Category, image and object that a question is about."""
    match = _OBJECT.fullmatch(sample.text)
    about = match.group(1) if match else sample.text
    return sample.id.split("/")[0], sample.image_id, about.strip().lower()
