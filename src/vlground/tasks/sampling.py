"""`task=sampling`: n candidates an image, each stored once.

`predict_step` asks the captioner for the candidates that are missing; rows are filled from the
store. The later tasks of the pipeline begin with the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import lightning
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import Caption, Captioner
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.metrics.statistics import Estimate, bootstrap_mean
from vlground.rewards.sentences import split
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.candidate_rows import SAMPLED, TOGETHER, rows_in_parts, sampled_rows
from vlground.tasks.candidates import Candidates
from vlground.tasks.images import ImageEvidence, images_of
from vlground.tasks.scoring import gathered
from vlground.weights import pinned

_AVERAGED = (*("words", "sentences", "cut_off", "repeated", "tokens", "log_probability", "model"),)


class Sampling(ImageEvidence):
    """A captioner on the images of a data set.

    Captions are read from the store whenever they are needed, so of many only some are in memory.

    Args:
        cell: Of the run.
        node: Of the model, of which the captioner is made if a candidate is missing.
        images: One sample an image.
        prompt: What is asked of each.
        candidates: Where they are kept.
        batch_size: Images a batch; no result depends on it.

    Attributes:
        table: After `carry_out`: one row a candidate; texts are in `rows.parquet`.
    """

    version = 1

    def __init__(
        self,
        cell: Cell,
        node: Mapping[str, Any],
        images: Sequence[Sample],
        prompt: str,
        candidates: Candidates,
        batch_size: int,
    ) -> None:
        super().__init__(images, candidates.store, batch_size)
        self.cell, self.node, self.prompt, self.candidates = cell, node, prompt, candidates
        self.captioner: Captioner | None = None
        self.table = pandas.DataFrame()
        self._keys: dict[str, str] = {}
        self._read: dict[str, list[Caption]] = {}

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
        images = images_of(cell.samples)
        return cls(cell, node, images, prompt, candidates, cell.node["batch_size"])

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Write the candidates that are missing, fill the rows."""
        self.make(trainer)
        write = trainer.is_global_zero
        self.table = rows_in_parts(self.cell, self.images, self._rows, SAMPLED, _AVERAGED, write)

    def rows(self, images: Sequence[Sample]) -> pandas.DataFrame:
        """After `make`: one row a candidate of some of the images."""
        return sampled_rows(images, [self.captions(sample) for sample in images])

    def _rows(self, images: Sequence[Sample]) -> pandas.DataFrame:
        rows = self.rows(images)
        return rows.assign(sentences=[len(split(text)) for text in rows["text"]])

    def make(self, trainer: lightning.Trainer) -> None:
        """Write the candidates that are missing.

        Raises:
            VlgroundError: If there is none at all afterwards.
        """
        super().make(trainer)
        for failed in gathered([self.candidates.failed], trainer.world_size):
            self.candidates.failed |= failed
        self._keys, self._read = {}, {}
        keys = (key for sample in self.images for key in self.candidates.keys(sample, self.prompt))
        if not any(key in self.candidates.store for key in keys):
            found = (one for sample in self.images for one in self.captions(sample))
            problems = Counter(one.problem for one in found)
            told = ", ".join(f"{reason} ({count})" for reason, count in problems.items())
            raise VlgroundError(f"model: no caption of {len(self.images)} images: {told}")

    def captions(self, sample: Sample) -> list[Caption]:
        """After `make`: the candidates of an image; those that are not there say why."""
        if sample.id not in self._read:
            if len(self._read) == TOGETHER:
                self._read.clear()
            self._read[sample.id] = self.candidates.of(sample, self.prompt)
        return self._read[sample.id]

    def key(self, sample: Sample) -> str:
        """After `make`: what stands for the image and the texts of its candidates."""
        if sample.id not in self._keys:
            captions = enumerate(self.captions(sample))
            texts = {str(index): one.text for index, one in captions if not one.problem}
            self._keys[sample.id] = digest([sample.image_key, texts])
        return self._keys[sample.id]

    def missing(self, sample: Sample) -> bool:
        """Whether a candidate of an image is missing."""
        return self.candidates.first_missing(sample, self.prompt) is not None

    def keys(self, sample: Sample) -> list[str]:
        """Of the candidates of an image."""
        return self.candidates.keys(sample, self.prompt)

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


def estimates(table: pandas.DataFrame) -> dict[str, Estimate]:
    """What can be said of candidates without looking at images.

    Args:
        table: One row a candidate, as `Sampling` keeps them.

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
    by_image = 1 - written.groupby("image_id", sort=False)["repeated"].mean()
    found["distinct"] = bootstrap_mean(by_image.to_numpy(dtype=float), by_image.index.tolist())
    known = written[written["tokens"].notna() & (written["tokens"] != 0)]
    ratio = (known["log_probability"] / known["tokens"]).to_numpy(dtype=float)
    found["token_log_probability"] = bootstrap_mean(ratio, known["image_id"].tolist())
    return found
