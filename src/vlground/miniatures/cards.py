"""Writes the cards of the miniatures from what their runs measured: the last step of their recipe.

python -m vlground.miniatures.cards RUNS
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vlground.data.shapes.language import WORDS
from vlground.errors import VlgroundError
from vlground.miniatures.captioner_cards import CAPTIONERS
from vlground.miniatures.captioner_cards import card as captioner_card
from vlground.miniatures.classifier_cards import CLASSIFIERS
from vlground.miniatures.classifier_cards import card as classifier_card

Results = dict[str, Any]

_WHAT = {
    "mini_blip": "BLIP-ITM (Li et al. 2022) at a small size: transformers' "
    "`BlipForImageTextRetrieval`.",
    "mini_albef": "ALBEF (Li et al. 2021) at a small size, with the official names of its weights.",
    "mini_albef_amc": "`mini_albef` tuned with Attention Mask Consistency (Yang et al. 2023) on "
    "boxes.",
    "mini_clip_rn": "CLIP (Radford et al. 2021) at a small size: open_clip's CLIP with a ResNet.",
    "mini_llava": "LLaVA (Liu et al. 2023) at a small size: transformers' "
    "`LlavaForConditionalGeneration`. It says yes or no.",
}
_TRAININGS = ("matching", "amc", "contrastive", "answering")
# The runs of which experiment a card quotes, and the columns of its table.
_SCORES = {"mini_clip_rn": "miniature_scores_clip_rn"}
_CAMS = {
    "gscorecam_50": "gScoreCAM, 50 channels",
    "attention_gradcam": "attention Grad-CAM",
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "shuffled_text_gscorecam": "shuffled text",
    "shuffled_text": "shuffled text",
    "center": "centre",
    "uniform": "uniform",
}
_GROUNDING = {"pointing_game": "Pointing game", "io_ratio": "IO_ratio", "iou_soft": "IoU soft"}
_ACCURACIES = {
    "accuracy": "Matching accuracy",
    "matched_accuracy": "… of true phrases",
    "foil_accuracy": "… of foils",
}
_MEASURED = {
    "accuracy": "Matching accuracy",
    "ranking_accuracy": "How often the true text scores higher than its foil",
}
_PLUMBING = ("_target_", "stage", "reads", "scores_with", "overlays", "export")
_PLACES = {
    -4: "fourth from the end",
    -3: "third from the end",
    -2: "second from the end",
    -1: "last",
}
_CARD = """# {name}

{what} {parameters:,} parameters in half precision. It knows drawn scenes
of 96 × 96 pixels and {words} words, and nothing else; no number of it is comparable with a real
checkpoint's: they are not the paper's.

## Recipe

`vlground experiment={experiment}`{start}, {seconds:.0f} s on {device}. Data: the
training stream of the shapes world, seed {seed}; pairs of colour and shape that are held out are
neither drawn nor named in it.

```yaml
{options}```

{measured} on 2,000 phrases of the validation split at the end: {accuracy:.4f}.
{layers}
## Scores

{n:,} phrases of the test split, from scenes that were not trained on; half of the foils
differ in one attribute (`experiment={scores_of}`). Intervals are 95 % bootstrap over images.

{scores}
"""
_LAYERS = """
## Which layer

Pointing game of attention Grad-CAM on 1,000 phrases of the validation split
(`experiment=miniature_layers`); the layer of `conf/model/{name}.yaml` was chosen by this table.

{table}
"""


def main(runs: Path, folder: Path) -> None:
    """Write `folder/<miniature>/README.md` of every miniature that has runs.

    Raises:
        VlgroundError: If a training, a layer or a score is missing.
    """
    found = [json.loads(path.read_text()) for path in sorted(runs.glob("*/*/results.json"))]
    for name in _WHAT:
        (folder / name / "README.md").write_text(card(name, found, folder / name))
    for name in CLASSIFIERS:
        weights = folder / name / "model.safetensors"
        (folder / name / "README.md").write_text(classifier_card(name, runs, weights))
    for name in CAPTIONERS:
        weights = folder / name / "model.safetensors"
        (folder / name / "README.md").write_text(captioner_card(name, runs, weights))


def card(name: str, found: Sequence[Results], folder: Path) -> str:
    """The card of one miniature, in Markdown.

    Args:
        name: Of the miniature.
        found: Results of all runs.
        folder: Of its weights.
    """
    from safetensors.numpy import load_file

    mine = [one for one in found if one["choices"]["model"] == name]
    training = [one for one in mine if one["task"] in _TRAININGS]
    if len(training) != 1:
        raise VlgroundError(f"{name}: {len(training)} trainings in the runs, expected one")
    (run,) = training
    reads = run["identity"]["stage"]["reads"]
    options = {key: value for key, value in reads["task"].items() if key not in _PLUMBING}
    weights = load_file(folder / "model.safetensors")
    (measured,) = [score for score in _MEASURED if score in run["scores"]]
    scores_of = _SCORES.get(name, "miniature_scores")
    scored = [one for one in mine if one["experiment"] == scores_of]
    return _CARD.format(
        name=name,
        what=_WHAT[name],
        parameters=sum(w.size for w in weights.values() if w.dtype.kind == "f"),
        words=len(WORDS),
        experiment=run["experiment"],
        start=" from `mini_albef`" if run["task"] == "amc" else "",
        seconds=run["seconds"],
        device=run["device"],
        seed=reads["seed"],
        options=yaml.safe_dump(options, sort_keys=True),
        measured=_MEASURED[measured],
        accuracy=run["scores"][measured]["value"],
        layers=_layers(name, [one for one in mine if one["experiment"] == "miniature_layers"]),
        n=max((one["counts"]["samples"] for one in scored), default=0),
        scores_of=scores_of,
        scores=_scores(scored, scores_of),
    )


def _layers(name: str, runs: Sequence[Results]) -> str:
    """What chose the layer; nothing of a model without cross-attention."""
    if not runs:
        return ""
    tokens = ("all", "words", "first")
    found: dict[int, dict[str, str]] = {}
    for run in runs:
        cam, scores = run["identity"]["stage"]["reads"]["cam"], run["scores"]
        score = scores.get("pointing_game")
        shown = "no map" if score is None else f"{score['value']:.3f}"
        found.setdefault(cam["layer"], {})[cam["tokens"]] = shown
    head = "| cross-attention | " + " | ".join(f"tokens={one}" for one in tokens) + " |"
    rows = [
        f"| {_PLACES[layer]} | " + " | ".join(row.get(one, "–") for one in tokens) + " |"
        for layer, row in sorted(found.items())
    ]
    table = "\n".join([head, "|" + "---|" * (len(tokens) + 1), *rows])
    return _LAYERS.format(name=name, table=table)


def _scores(runs: Sequence[Results], experiment: str) -> str:
    by_cam = {run["choices"]["cam"]: run["scores"] for run in runs}
    shown = [cam for cam in _CAMS if cam in by_cam]
    if not shown:
        raise VlgroundError(f"no run of experiment={experiment}")
    own = by_cam[shown[0]]
    heads = " | ".join(_CAMS[cam] for cam in shown)
    lines = [f"| score | {heads} |", "|" + "---|" * (1 + len(shown))]
    for score, title in _GROUNDING.items():
        cells = [_cell(by_cam[cam].get(score)) for cam in shown]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    for score, title in _ACCURACIES.items():
        if score in own:
            lines.append(f"| {title} | {_cell(own[score])} |" + " |" * (len(shown) - 1))
    return "\n".join(lines)


def _cell(score: dict[str, Any] | None) -> str:
    if score is None:
        return "–"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
