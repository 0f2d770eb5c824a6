"""Puts the annotation page together: one file that needs no network and no server.

By default it is blind: it holds pictures and predicted labels, and of the judge's words, its score,
the truth and the probability nothing at all. Sample ids, which may name the truth, are packed and
come out in the exported file only.
"""

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from vlground.alignment.people import DECISIONS
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.metrics.ratings import COLUMNS
from vlground.page.build import embedded
from vlground.whole import replacing

Mode = Literal["scores", "acceptance"]

LIMIT = 60_000_000  # bytes of the page: above, phones and mail programs give up
SIDE = 768  # of a picture's longer side, in pixels; larger ones are shrunk
_LOSSLESS = 160  # up to this side a picture is stored as PNG: JPEG's blocks would show
_QUALITY = 90
_SCRIPTS = ("data", "order", "progress", "export", "screens", "main")


@dataclass(frozen=True, eq=False)
class Card:
    """One picture to be scored.

    Attributes:
        id: Of the sample.
        label: That the classifier gave it.
        image: `(height, width, 3)` uint8, as the judge saw it.
        description: What the judge saw in it; on the acceptance page only.
        justification: Why it scored so; on the acceptance page only.
    """

    id: str
    label: str
    image: np.ndarray
    description: str = ""
    justification: str = ""


def write_page(
    cards: Sequence[Card],
    path: Path,
    title: str,
    seed: int = 0,
    mode: Mode = "scores",
    mask: str = "",
) -> int:
    """Write the page.

    Args:
        cards: What is scored, in any order: each annotator gets one of their own.
        path: Of the file.
        title: Stands on the page. It must not say what people are not to know.
        seed: Of the annotators' orders.
        mode: scores: 0-5, blind. acceptance: the judge's words are shown, and accepted or rejected.
        mask: Of the run, for the column of that name in the file of decisions.

    Returns:
        Its bytes.

    Raises:
        VlgroundError: There is no card, or two have one id; the page would be larger than `LIMIT`;
            the file cannot be written.
    """
    if not cards:
        raise VlgroundError("no picture to score: no sample of the run has one")
    ids = [card.id for card in cards]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise VlgroundError(f"two cards have the id {min(twice)}")
    text = page(cards, title, seed, mode, mask)
    size = len(text.encode())
    if size > LIMIT:
        fit = int(len(cards) * LIMIT / size)
        told = f"{len(cards)} pictures take {size / 1e6:.0f} MB, above {LIMIT / 1e6:.0f} MB"
        raise VlgroundError(f"--samples {len(cards)}: {told}; about {fit} fit")
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")
    return size


def page(cards: Sequence[Card], title: str, seed: int, mode: Mode, mask: str = "") -> str:
    """The page as text; see `write_page`."""
    shown = sorted((_shown(card, seed, mode) for card in cards), key=lambda card: card["token"])
    names = {_token(card.id, seed): card.id for card in cards}
    data = {
        "mode": mode,
        # Pages that differ in a picture or a word keep their progress apart.
        "page": digest([mode, seed, shown]),
        "columns": COLUMNS if mode == "scores" else DECISIONS,
        "mask": mask if mode == "acceptance" else "",
        "cards": shown,
        "names": base64.b64encode(json.dumps(names, sort_keys=True).encode()).decode(),
    }
    folder = files("vlground.annotation")
    style = folder.joinpath("page.css").read_text("utf-8")
    bodies = [folder.joinpath(f"{name}.js").read_text("utf-8") for name in _SCRIPTS]
    script = '(() => {\n"use strict";\n' + "\n".join(bodies) + "})();"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": html.escape(policy), "style": style, "script": script}
    parts |= {"title": html.escape(title), "data": embedded(data)}
    text = folder.joinpath("page.html").read_text("utf-8")
    # In one go: what is put in may itself hold something that looks like a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], text)


def data_url(image: np.ndarray) -> str:
    """A picture as a data URL: PNG if it is small, else JPEG, at most `SIDE` pixels long."""
    picture = Image.fromarray(image).convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)  # never enlarges
    file = io.BytesIO()
    if max(picture.size) <= _LOSSLESS:
        picture.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(file, "JPEG", quality=_QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _shown(card: Card, seed: int, mode: Mode) -> Mapping[str, Any]:
    found = {"token": _token(card.id, seed), "label": card.label, "image": data_url(card.image)}
    if mode == "acceptance":
        found |= {"description": card.description, "justification": card.justification}
    return found


def _token(name: str, seed: int) -> str:
    """What stands for a sample's id wherever the page can be looked at."""
    return digest([seed, name])


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
