"""What rejection sampling hands on: winners in the formats of others, with their data cards."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from vlground.cell import Cell
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards.best import Best
from vlground.rewards.data_card import LICENCES, Provenance
from vlground.rewards.export import Winner, dataset_info, export
from vlground.rewards.signals import inaccuracy
from vlground.store import replacing, write_json
from vlground.tasks.caption_scoring import CaptionScoring

_NAMES = {
    "llava": "llava.json",
    "llama_factory": "llama_factory.json",
    "trl_sft": "trl_sft.jsonl",
    "trl_dpo": "trl_dpo.jsonl",
    "trl_stepwise": "trl_stepwise.jsonl",
}
# Rewards whose scores rest on somebody's data.
_ANNOTATIONS = {"vigor": "ViGoR annotations", "rlhf_v": "RLHF-V", "m_haldetect": "M-HalDetect"}


def write_training_data(
    cell: Cell, scoring: CaptionScoring, best: Mapping[str, Best], counts: Mapping[str, int]
) -> None:
    """Write every format that `task.export` names into `export/` of the run.

    Args:
        cell: Of the run.
        scoring: Candidates and their scores.
        best: Image id -> what was taken.
        counts: For the data card.

    Raises:
        VlgroundError: The folder cannot be written.
    """
    formats = cell.node["task"]["export"]
    if not formats:
        return
    folder = cell.directory / "export"
    winners = [_winner(cell, scoring, s, best[s.image_id]) for s in _images(scoring, best)]
    provenance = _provenance(cell, scoring, counts)
    for style in formats:
        path = folder / _NAMES[style]
        export(winners, style, path, provenance)
        if style == "llama_factory":
            write_json(folder / "dataset_info.json", dataset_info("vlground", path.name))


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


def _images(scoring: CaptionScoring, best: Mapping[str, Best]) -> list[Sample]:
    return [sample for sample in scoring.sampling.images if sample.image_id in best]


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
