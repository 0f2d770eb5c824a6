"""Run folders as task=explanation leaves them, with blocks made by the real functions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from PIL import Image, ImageDraw

from vlground.counts import count
from vlground.identity import digest
from vlground.metrics.judge_matrix import JudgeMatrix, estimates, per_class, place, tally
from vlground.metrics.judge_sanity import sanity

CLASSES = ("cat", "dog", "tench")
EVIL = "</script><img src=x onerror=alert(1)>"  # what a judge may say
FILLING = "{{data}} and {{script}}"
GALLERY = 4


def make_explanation(
    runs: Path,
    model: str = "mini",
    cam: str = "gradcam",
    n: int = 60,
    sound: bool | None = True,
    answers: tuple[str, ...] = ("judge-1",),
    judge: str = "openai_compatible",
    **mask: Any,
) -> Path:
    """A run directory.

    Args:
        runs: The folder of runs.
        model: Of the classifier.
        cam: Its CAM.
        n: Samples, one an image; the last six have no score.
        sound: Whether the judge prefers the map to the controls; None: it was not tested.
        answers: Ids of the models that answer in turn.
        judge: Option of the judge.
        mask: Options of the mask.
    """
    name = digest([model, cam, n, sound, answers, judge, mask])
    folder = runs / "explanation" / f"{model}-{cam}-drawn-sigmoid-{judge}-{name[:8]}"
    (folder / "figures").mkdir(parents=True)
    rows = _rows(n, int(name, 16) % 2**32, answers)
    rows["cell"] = place(rows, JudgeMatrix())
    rows.to_parquet(folder / "rows.parquet", index=False)
    worst = {
        cell: rows[rows["cell"] == cell].sort_values(["score", "id"])["id"].tolist()
        for cell in ("correct_low", "wrong_high")
    }
    gallery = {
        "correct_low": worst["correct_low"][:GALLERY],
        "wrong_high": worst["wrong_high"][::-1][:GALLERY],
    }
    for sample in {*gallery["correct_low"], *gallery["wrong_high"], *rows["id"][:2]}:
        _picture(sample).save(folder / "figures" / f"{digest(sample)}.jpg", quality=85)
    outcomes = {
        f"{kind}s": rows[rows["outcome"] == kind]["reason"].value_counts().to_dict()
        for kind in ("refusal", "error")
    }
    choices = {"model": model, "cam": cam, "dataset": "drawn", "mask": "sigmoid", "judge": judge}
    options = {"alpha": 25.0, "beta": 0.6, **mask}
    results = {
        "task": "explanation",
        "choices": {**choices, "metric": "judge_matrix", "task": "explanation"},
        "experiment": "photos",
        "fingerprint": name,
        "identity": {
            "metric": {"threshold": 2.5},
            "mask": options,
            "judge": {"model": "gpt"},
            "data": "d",
        },
        "scores": _plain(estimates(rows)),
        "matrix": {"judge": tally(rows)},
        "counts": {**count(rows, {}), **outcomes},
        "overrides": [f"mask.{key}={value}" for key, value in mask.items()],
        "seconds": 1.5,
        "device": "cpu",
        "versions": {},
        "git": {"commit": "c0ffee", "dirty": False},
        "explanation": {
            "per_class": {label: _plain(found) for label, found in per_class(rows).items()},
            "sanity": _sanity(rows, sound),
            "usage": {
                **{"scores": n - 6, "cached": 4, "calls": n, "tokens_in": 12000, "tokens_out": 900},
                **{"cost": 0.25, "models": rows["judge_model"].value_counts().to_dict()},
                **outcomes,
            },
            "gallery": gallery,
        },
    }
    (folder / "results.json").write_text(json.dumps(results, allow_nan=False))
    config = {"seed": 0, "tags": ["smoke"], "notes": "", "logger": {}, "judge": {"model": "gpt"}}
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


def _rows(n: int, seed: int, answers: tuple[str, ...]) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    label = [CLASSES[i % len(CLASSES)] for i in range(n)]
    predicted = [name if rng.random() < 0.7 else CLASSES[-1] for name in label]
    rows = pandas.DataFrame({"id": [f"drawn/{i:03}" for i in range(n)], "label": label})
    rows["image_id"] = rows["id"]
    rows["text"], rows["predicted"] = predicted, predicted
    rows["probability"] = rng.uniform(0.3, 1, n)
    rows["correct"] = (rows["label"] == rows["predicted"]).astype(float)
    rows["score"] = rng.integers(0, 6, n).astype(float)
    rows["outcome"], rows["reason"], rows["flag"] = "score", "", ""
    rows["description"] = [f"I see a part of picture {i}, with a dark border." for i in range(n)]
    rows["justification"] = [
        (EVIL, FILLING)[i % 2] if i < 2 else "The head is there, and so is most of the body."
        for i in range(n)
    ]
    rows["judge_model"] = [answers[i % len(answers)] for i in range(n)]
    for row, outcome, reason in (
        (n - 6, "refusal", "policy"),
        (n - 5, "error", "429"),
        (n - 4, "error", "time-out"),
        (n - 3, "degenerate", "constant"),
        (n - 2, "degenerate", "constant"),
    ):
        rows.loc[row, ["outcome", "reason", "score"]] = [outcome, reason, np.nan]
        rows.loc[row, ["description", "justification", "judge_model"]] = ["", "", None]
        rows.loc[row, "flag"] = reason if outcome == "degenerate" else f"{outcome}: {reason}"
    rows["skipped"] = None
    rows.loc[n - 1, ["skipped", "outcome", "flag"]] = ["unreadable image: torn", "skipped", None]
    rows.loc[n - 1, ["score", "correct", "probability"]] = np.nan
    rows.loc[n - 1, ["description", "justification", "judge_model"]] = ["", "", None]
    # A scored sample that nobody has labelled.
    rows.loc[n - 7, "label"], rows.loc[n - 7, "correct"] = None, np.nan
    rows["match"] = rows["foil_match"] = np.nan
    for name in ("foil", "foil_cell", "truncated", "foil_truncated"):
        rows[name] = None
    rows["degenerate"] = rows["outcome"] == "degenerate"
    return rows


def _sanity(rows: pandas.DataFrame, sound: bool | None) -> dict[str, Any]:
    if sound is None:
        scores: dict[str, dict[str, float]] = {}
    else:
        own = rows[rows["correct"] == 1].set_index("id")["score"].fillna(3).clip(lower=2)
        low = {"black": 0.0, "random": 0.4, "complement": 0.6, "shuffled_label": 0.2}
        scores = {name: dict(own * part) for name, part in low.items()}
        scores |= {"own": dict(own), "full": dict(own * 0 + 4)}
        if not sound:
            scores["black"] = dict(own + 0.5)
    found = sanity(scores, dict(zip(rows["id"], rows["image_id"], strict=True)))
    return {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "failed": list(found.failed),
        "open": found.open,
        "means": _plain(found.means),
        "differences": _plain({k: d.difference for k, d in found.differences.items()}),
        "samples": len(scores.get("own", ())),
    }


def _plain(found: Any) -> dict[str, Any]:
    return {name: asdict(e) for name, e in found.items() if not np.isnan(e.value)}


def _picture(sample: str) -> Image.Image:
    """Photo, map over it, and what the judge was shown, side by side."""
    rng = np.random.default_rng(int(digest(sample), 16) % 2**32)
    small = Image.fromarray(rng.integers(40, 220, (6, 8, 3), dtype=np.uint8))
    photo = small.resize((320, 240), Image.Resampling.BICUBIC)
    strip = Image.new("RGB", (960, 240))
    x, y = (int(v) for v in rng.integers(20, 120, 2))
    for panel in range(3):
        part = photo.copy()
        if panel == 2:
            part = Image.new("RGB", photo.size)
            part.paste(photo.crop((x, y, x + 150, y + 100)), (x, y))
        ImageDraw.Draw(part).rectangle((x, y, x + 150, y + 100), outline=(80, 255, 120), width=3)
        strip.paste(part, (320 * panel, 0))
    return strip
