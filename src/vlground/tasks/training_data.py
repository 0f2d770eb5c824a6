"""What rejection sampling hands on: winners in the formats of others, with their data cards."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from vlground.cell import Cell
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards.best import Best
from vlground.rewards.data_card import LICENCES, Provenance
from vlground.rewards.export import TrainingFile, Winner, dataset_info
from vlground.rewards.signals import inaccuracy
from vlground.tasks.caption_scoring import CaptionScoring
from vlground.whole import replacing, write_json

_NAMES = {
    "llava": "llava.json",
    "llama_factory": "llama_factory.json",
    "trl_sft": "trl_sft.jsonl",
    "trl_dpo": "trl_dpo.jsonl",
    "trl_stepwise": "trl_stepwise.jsonl",
}
# Rewards whose scores rest on somebody's data.
_ANNOTATIONS = {"vigor": "ViGoR annotations", "rlhf_v": "RLHF-V", "m_haldetect": "M-HalDetect"}


class TrainingData:
    """Every format that `task.export` names, in `export/` of the run; use it as a context.

    Args:
        cell: Of the run.
        scoring: Candidates and their scores.
        write: Whether this process writes them.
    """

    def __init__(self, cell: Cell, scoring: CaptionScoring, write: bool) -> None:
        self.cell, self.scoring, self.folder = cell, scoring, cell.directory / "export"
        formats = cell.node["task"]["export"] if write else []
        self.files = [TrainingFile(style, self.folder / _NAMES[style]) for style in formats]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin all files."""
        with self._stack as stack:
            for file in self.files:
                stack.enter_context(file)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> bool | None:  # noqa: ANN401 - of any error
        """Put them into their places if nothing was raised."""
        return self._stack.__exit__(*raised)

    def add(self, sample: Sample, best: Best) -> None:
        """Write what was taken of an image."""
        if self.files:
            winner = _winner(self.cell, self.scoring, sample, best)
            for file in self.files:
                file.add(winner)

    def describe(self, counts: Mapping[str, int]) -> None:
        """Write the cards of files that are there.

        Args:
            counts: What became of images, winners and their sentences.
        """
        provenance = _provenance(self.cell, self.scoring, counts)
        for file in self.files:
            file.describe(provenance)
            if file.style == "llama_factory":
                info = dataset_info("vlground", file.path.name)
                write_json(self.folder / "dataset_info.json", info)


def check_formats(formats: object) -> None:
    """Refuse `task.export` before anything is computed.

    Raises:
        VlgroundError: If it is no list of formats.
    """
    unknown = (
        formats
        if not isinstance(formats, list)
        else next((one for one in formats if one not in _NAMES), None)
    )
    if unknown is not None:
        raise VlgroundError(f"task.export={unknown}: expected some of {', '.join(_NAMES)}")


def exported(cell: Cell) -> list[str]:
    """Names of the files that a run has exported."""
    return [_NAMES[style] for style in cell.node["task"]["export"]]


def _licences(cell: Cell) -> dict[str, str]:
    """What `task.licences` says: `name: licence`."""
    told = [str(one).partition(":") for one in cell.node["task"]["licences"]]
    return {name.strip(): licence.strip() for name, _, licence in told}


def _winner(cell: Cell, scoring: CaptionScoring, sample: Sample, one: Best) -> Winner:
    whole = one.candidates[one.winner]
    right = 1 - np.clip(inaccuracy(whole.errors, scoring.metric), 0, 1)
    return Winner(
        sample.image_id,
        _picture(cell.runs, sample),
        scoring.sampling.prompt,
        one.refined.text,
        None if one.worst is None else one.candidates[one.worst].text,
        [sentence.content for sentence in whole.sentences],
        right.tolist(),
    )


def _picture(runs: Path, sample: Sample) -> str:
    """Where a reader finds the image; one that is no file is written, once for all runs."""
    if isinstance(sample.image, Path):
        return str(sample.image)
    path = runs / "images" / f"{sample.image_key}.png"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            Image.fromarray(sample.image).save(temporary, format="png")
    return str(path)


def _provenance(cell: Cell, scoring: CaptionScoring, counts: Mapping[str, int]) -> Provenance:
    stages = {name: stage for name, stage in scoring.branches.items() if stage}
    parts = {group: cell.choices.get(group) for group in ("model", "dataset", "detector", "reward")}
    written = cell.choices["model"] == "captioner_file"
    prompt = "prompt (candidates are of files; nobody here asked it)" if written else "prompt"
    source = {
        **{group: choice for group, choice in parts.items() if choice},
        prompt: scoring.sampling.prompt,
        "candidates an image": scoring.sampling.candidates.n,
        "seed": cell.node["seed"],
        "nouns found by": None if scoring.nouns is None else scoring.nouns.finder.tagger,
        "run": cell.fingerprint,
        "stage of candidates": cell.stage.fingerprint,
        **{f"SHA-256 of {name}": value for name, value in cell.stage.checksums.items()},
        **{f"stage of {name}": stage for name, stage in stages.items()},
    }
    named = _ANNOTATIONS.get(str(parts["reward"]))
    licences = {} if named is None else {named: LICENCES[named]}
    return Provenance(
        "Captions selected and refined by fine-grained rewards (ViGoR, reconstructed)",
        {name: value for name, value in source.items() if value is not None},
        asdict(scoring.metric),
        counts,
        licences | _licences(cell),
    )
