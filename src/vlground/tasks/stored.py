"""What a finished run of `task=explanation` was made of."""

import json
from pathlib import Path

from omegaconf import OmegaConf

from vlground.config import build, build_dataset, select
from vlground.contracts import Mask
from vlground.errors import VlgroundError
from vlground.identity import Stage
from vlground.store import EvidenceStore
from vlground.tasks.explaining import Subject, subjects_of


def stored_explanation(directory: Path) -> tuple[Mask, EvidenceStore, list[Subject]]:
    """The mask, the evidence and the images of a run.

    Args:
        directory: The run's.

    Raises:
        VlgroundError: If it holds no run of this task, or its data set is not there.
    """
    path = directory / "results.json"
    try:
        results = json.loads(path.read_text("utf-8"))
        node = OmegaConf.to_container(OmegaConf.load(directory / "config.yaml"), resolve=True)
    except (OSError, ValueError) as error:
        raise VlgroundError(f"{directory}: no finished run: {error}") from error
    assert isinstance(node, dict)
    if results.get("task") != "explanation":
        raise VlgroundError(f"{directory}: expected a run of task=explanation")
    _, samples, _ = build_dataset(node["dataset"])
    samples = select(samples, **{name: node[name] for name in ("limit", "shard", "sample")})
    store = EvidenceStore(directory.parents[1], Stage(**results["identity"]["stage"]))
    return build(node["mask"]), store, subjects_of(samples)
