"""MMHal-Bench: questions about images, what a person answered, and what somebody's model did.

Sun et al., arXiv 2309.14525: 96 records in a JSON list, eight types of question in turns.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlground.data.answers import read_answers
from vlground.data.questions import files_of
from vlground.data.records import image_id_of, image_path, read_records, tell, text_of
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

# In the order in which they take turns: the type of a record is its place modulo 8 (official).
TYPES = (
    *("attribute", "adversarial", "comparison", "counting"),
    *("relation", "environment", "holistic", "other"),
)


@dataclass(frozen=True)
class Reference:
    """What a judge knows of a question.

    Attributes:
        contents: Names of what somebody saw in the image; not all that is in it.
        answer: Of a person.
    """

    contents: tuple[str, ...]
    answer: str


class MMHal:
    """Questions as samples: text the question, label the person's answer, id `<type>/<number>`.

    A record has `image_id`, `question`, `gt_answer`, `image_content` (a list of names) and, if you
    like, `question_type` and `model_answer`; an empty `model_answer`, as in the published template,
    is none. Records without question, image or person's answer are left out, counted and named in
    the log.

    Args:
        questions: The file.
        answers: Answers made elsewhere, see `vlground.data.answers`; None: the records' own
            `model_answer`, or a model is to answer.
        root: Folder of the images, each named `<image id>.jpg`, as `image` says, or as the end of
            its address `image_src`; None: they are not looked for.

    Attributes:
        skipped: Reason -> number of records that became no sample.
        references: Sample id -> what the judge is told.
        answers: Sample id -> answer; a question may have none.
        answer_counts: What is odd about the answers -> how often.
        checksums: Option and name of the file -> SHA-256.

    Raises:
        VlgroundError: A file is not there or not in the format, or no question is left.
    """

    def __init__(
        self, questions: str | None, answers: str | None = None, root: str | None = None
    ) -> None:
        read = read_records("dataset.questions", questions)
        self.checksums = {f"questions/{read.path.name}": read.checksum}
        self.references: dict[str, Reference] = {}
        self.answers: Mapping[str, str] = {}
        self.answer_counts: Mapping[str, int] = {}
        self._samples: list[Sample] = []
        left_out: list[tuple[str, str]] = []
        own: dict[str, str] = {}
        for number, (place, record) in enumerate(read.records):
            sample = _sample(record, number, root)
            if isinstance(sample, str):
                left_out.append((place, sample))
                continue
            self._samples.append(sample)
            self.references[sample.id] = Reference(_contents(record), sample.label or "")
            if answer := (text_of(record, ("model_answer",)) or "").strip():
                own[sample.id] = answer
        tell(read.path, left_out)
        self.skipped = Counter(read.skipped) + Counter(reason for _, reason in left_out)
        if not self._samples:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in self.skipped.items())
            raise VlgroundError(f"dataset.questions={questions}: no question: {reasons or 'empty'}")
        self.answers = own
        if answers is not None:
            found = read_answers(files_of("dataset.answers", answers), self._samples)
            self.answers, self.answer_counts = found.texts, found.counts
            self.checksums |= {f"answers/{name}": value for name, value in found.checksums.items()}

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def _sample(record: Mapping[str, Any], number: int, root: str | None) -> Sample | str:
    """The sample of a record, or why it is none."""
    question, answer = text_of(record, ("question",)), text_of(record, ("gt_answer",))
    image_id = image_id_of(record)
    if question is None or not question.strip():
        return "no question"
    if answer is None or not answer.strip():
        return "no answer of a person (gt_answer)"
    if image_id is None:
        return "no image"
    image = _image(root, record, image_id)
    if image is None:
        return "image not in dataset.root"
    kind = text_of(record, ("question_type",)) or TYPES[number % len(TYPES)]
    return Sample(f"{kind.strip()}/{number}", image_id, image, question, label=answer)


def _image(root: str | None, record: Mapping[str, Any], image_id: str) -> Path | None:
    """The first of the names that an image may have; None: it has none of them in the folder."""
    named = image_path(root, record, image_id)
    source = named.with_name(Path(text_of(record, ("image_src",)) or named.name).name)
    return next((path for path in (named, source) if root is None or path.is_file()), None)


def _contents(record: Mapping[str, Any]) -> tuple[str, ...]:
    found = record.get("image_content")
    return tuple(str(name) for name in found) if isinstance(found, list) else ()
