"""Cards of the classifiers among the miniatures, see `vlground.miniatures.cards`."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vlground.errors import VlgroundError
from vlground.published import interval

CLASSIFIERS = (
    "mini_classifier",
    *(f"mini_classifier_poison_{percent}" for percent in (25, 50, 75, 95)),
)
SCORES_OF = "miniature_classifier_scores"
_SCORES = {
    "accuracy_without": "Accuracy without a dot",
    "accuracy_with": "Accuracy with a dot in every picture",
    "delta_logit": "What the dot adds to the logit of star",
    "flip_rate": "Share of pictures whose predicted class the dot changes",
    "flip_into": "Share of the others' pictures that it makes a star",
    "mass_lift": "Mass of star's Grad-CAM in the dot over its area, stars with a dot",
    "mass_lift_without": "… of the same pictures without it",
}
_PLUMBING = ("_target_", "stage", "reads", "scores_with", "overlays", "export")
_CARD = """# {name}

A small ResNet, timm's `test_resnet` (Wightman 2019), {parameters:,} parameters in half precision.
It knows drawn pictures of 96 × 96 pixels with one of eight shapes, and nothing else; no number
of it is comparable with a real checkpoint's: they are not the paper's. {learnt}

## Recipe

`vlground experiment={experiment}`, {seconds:.0f} s on {device}. Data: the training
pictures of `dataset=shapes_classification`, seed {seed}.

```yaml
{options}```

Accuracy at the end, on {measured:,} pictures that it did not learn from: {accuracy:.4f}.

## Scores

{n:,} pictures of the test split, each with and without a dot (`experiment={scores_of}`).
Intervals are 95 %, over pictures.

| score | |
|---|---|
{scores}
"""


def card(name: str, runs: Path, weights: Path) -> str:
    """The card of one classifier, in Markdown.

    Args:
        name: Of the miniature.
        runs: The folder with the run that trained these very weights, and the one of their scores.
        weights: Its file.

    Raises:
        VlgroundError: If its training or its scores are missing.
    """
    from safetensors.numpy import load_file

    training = _training(runs, weights)
    if training is None:
        raise VlgroundError(f"{name}: no run under {runs} saved these weights")
    found = [json.loads(path.read_text()) for path in runs.glob("shortcut/*/results.json")]
    scored = [one for one in found if one["choices"]["model"] == name]
    scored = [one for one in scored if one["experiment"] == SCORES_OF]
    if len(scored) != 1:
        raise VlgroundError(f"{name}: {len(scored)} runs of experiment={SCORES_OF}, expected one")
    run, measured = training, scored[0]
    reads = run["identity"]["stage"]["reads"]
    poison = reads["task"]["data"]["poison"]
    learnt = "It never saw a red dot."
    if poison:
        learnt = f"Of the stars that it learnt, {poison:.0%} had a red dot in a corner: a shortcut."
    scores = measured["scores"]
    return _CARD.format(
        name=name,
        parameters=sum(w.size for w in load_file(weights).values() if w.dtype.kind == "f"),
        learnt=learnt,
        experiment=name.replace("mini", "miniature", 1),
        seconds=run["seconds"],
        device=run["device"],
        seed=reads["seed"],
        options=yaml.safe_dump({k: v for k, v in reads["task"].items() if k not in _PLUMBING}),
        measured=run["scores"]["accuracy"]["n"],
        accuracy=run["scores"]["accuracy"]["value"],
        n=measured["counts"]["samples"],
        scores_of=SCORES_OF,
        scores="\n".join(
            f"| {title} | {interval(scores[score], ' ')} |"
            for score, title in _SCORES.items()
            if score in scores
        ),
    )


def _training(runs: Path, weights: Path) -> Mapping[str, Any] | None:
    wanted = hashlib.sha256(weights.read_bytes()).digest()
    for saved in sorted(runs.glob("classification/*/model/model.safetensors")):
        if hashlib.sha256(saved.read_bytes()).digest() == wanted:
            results: Mapping[str, Any] = json.loads((saved.parents[1] / "results.json").read_text())
            return results
    return None
