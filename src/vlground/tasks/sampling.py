"""`task=sampling`: n candidates an image, each stored once.

`predict_step` asks the captioner for the candidates that are missing; rows are filled from the
store. The later tasks of the pipeline begin with the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

import lightning
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import Caption, Captioner
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.statistics import Estimate, bootstrap_mean
from vlground.rewards.sentences import split
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.candidates import Candidates
from vlground.tasks.images import ImageEvidence, images_of
from vlground.tasks.scoring import gathered
from vlground.weights import pinned

_COLUMNS = (
    *("id", "image_id", "candidate", "text", "words", "tokens", "log_probability", "cut_off"),
    *("model", "flag"),
)


class Sampling(ImageEvidence):
    """A captioner on the images of a data set.

    Args:
        node: Of the model, of which the captioner is made if a candidate is missing.
        images: One sample an image.
        prompt: What is asked of each.
        candidates: Where they are kept.
        batch_size: Images a batch; no result depends on it.

    Attributes:
        table: After `carry_out`: one row a candidate.
    """

    version = 1

    def __init__(
        self,
        node: Mapping[str, Any],
        images: Sequence[Sample],
        prompt: str,
        candidates: Candidates,
        batch_size: int,
    ) -> None:
        super().__init__(images, candidates.store, batch_size)
        self.node, self.prompt, self.candidates = node, prompt, candidates
        self.captioner: Captioner | None = None
        self.table = pandas.DataFrame()
        self._known: dict[str, list[Caption]] = {}

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If an option is impossible.
        """
        task, node = cell.node["task"], cell.node["model"]
        n, prompt = task["n"], task["prompt"]
        if not isinstance(n, int) or n < 1:
            raise VlgroundError(f"task.n={n}: expected a positive number")
        if not isinstance(prompt, str) or not prompt.strip():
            raise VlgroundError("task.prompt: expected what the captioner is asked")
        together = node.get("requests") == "together"
        store, seed = EvidenceStore(cell.runs, cell.stage), int(cell.node["seed"])
        candidates = Candidates(store, n, seed, together)
        return cls(node, images_of(cell.samples), prompt, candidates, cell.node["batch_size"])

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Write the candidates that are missing, fill the rows."""
        self.make(trainer)
        self.table = self.rows()
        self.table["sentences"] = [len(split(text)) for text in self.table["text"]]

    def rows(self) -> pandas.DataFrame:
        """After `make`: one row a candidate."""
        found = (self.candidates.of(sample, self.prompt) for sample in self.images)
        return table_of(self.images, found)

    def make(self, trainer: lightning.Trainer) -> None:
        """Write the candidates that are missing.

        Raises:
            VlgroundError: If there is none at all afterwards.
        """
        super().make(trainer)
        for failed in gathered([self.candidates.failed], trainer.world_size):
            self.candidates.failed |= failed
        for sample in self.images:
            found = self.candidates.of(sample, self.prompt)
            # Of a hundred thousand captions, log-probabilities would take most of the memory.
            self._known[sample.id] = [replace(one, log_probabilities=None) for one in found]
        problems = Counter(one.problem for found in self._known.values() for one in found)
        if "" not in problems:
            told = ", ".join(f"{reason} ({count})" for reason, count in problems.items())
            raise VlgroundError(f"model: no caption of {len(self.images)} images: {told}")

    def captions(self, sample: Sample) -> list[Caption]:
        """After `make`: the candidates of an image; those that are not there say why."""
        return self._known[sample.id]

    def missing(self, sample: Sample) -> bool:
        """Whether a candidate of an image is missing."""
        return self.candidates.first_missing(sample, self.prompt) is not None

    def counted(self) -> Mapping[str, int]:
        """Records of a file that became no caption."""
        return {} if self.captioner is None else dict(self.captioner.counts)

    def predict_step(self, batch: list[Sample]) -> list[tuple[str, Evidence]]:
        """Write the candidates of a batch."""
        if self.captioner is None:  # here, where each process knows its device
            self.captioner = captioner_of(self.node)
        return self.candidates.write(self.captioner, batch, [self.prompt] * len(batch))

    def scores(self) -> dict[str, dict[str, Any]]:
        """Length, how likely the model finds what it wrote, how much candidates differ."""
        return {name: asdict(one) for name, one in estimates(self.table).items() if one.n}

    def details(self) -> dict[str, Any]:
        """The prompt, and who answered."""
        models = sorted({str(name) for name in self.table["model"].dropna()})
        return {
            "matrix": {},
            "sampling": {"prompt": self.prompt, "models": models, "left_out": self.left_out},
        }

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: a candidate has no picture of its own."""
        return {}


def captioner_of(node: Mapping[str, Any]) -> Captioner:
    """The captioner of a model node.

    Raises:
        VlgroundError: If the model is none.
    """
    made = build(pinned(node))
    if not isinstance(made, Captioner):
        name = type(made).__name__
        raise VlgroundError(f"model: {name} writes no captions; expected model=captioner or like")
    return made


def table_of(images: Sequence[Sample], candidates: Iterable[Sequence[Caption]]) -> pandas.DataFrame:
    """One row a candidate, those without a caption flagged with the reason.

    Args:
        images: One sample an image.
        candidates: Of each.
    """
    found: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for sample, captions in zip(images, candidates, strict=True):
        for index, one in enumerate(captions):
            known = one.log_probabilities
            told = (
                *(f"{sample.image_id}/{index}", sample.image_id, index, one.text),
                *(len(one.text.split()), None if known is None else len(known)),
                *(None if known is None else float(sum(known)), one.cut_off),
                *(one.model, one.problem),
            )
            for column, value in zip(found.values(), told, strict=True):
                column.append(value)
    rows = pandas.DataFrame(found)
    nothing = pandas.Series([None] * len(rows), dtype=object)
    empty = dict.fromkeys(("skipped", "truncated", "foil_truncated"), nothing)
    return rows.assign(degenerate=False, **empty)


def estimates(table: pandas.DataFrame) -> dict[str, Estimate]:
    """What can be said of candidates without looking at images.

    Args:
        table: As `table_of` makes it, with `sentences`.

    Returns:
        `words` and `sentences` a caption; `token_log_probability` a token; shares of captions that
        are `empty` or `cut_off`; `distinct`: texts that differ over captions of an image.
    """
    written = table[table["flag"] == ""]
    images = written["image_id"].tolist()
    found = {
        name: bootstrap_mean(written[name].to_numpy(dtype=float), images)
        for name in ("words", "sentences", "cut_off")
    }
    found["empty"] = bootstrap_mean((written["words"] == 0).to_numpy(dtype=float), images)
    by_image = written.groupby("image_id", sort=False)["text"]
    distinct = (by_image.nunique() / by_image.size()).to_numpy(dtype=float)
    found["distinct"] = bootstrap_mean(distinct, list(by_image.groups))
    known = written[written["tokens"].notna() & (written["tokens"] != 0)]
    ratio = (known["log_probability"] / known["tokens"]).to_numpy(dtype=float)
    found["token_log_probability"] = bootstrap_mean(ratio, known["image_id"].tolist())
    return found
