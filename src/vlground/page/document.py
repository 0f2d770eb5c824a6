"""One HTML file that loads nothing: style, script and data inside, and no other script runs."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import isfinite

_LONE = re.compile("[\ud800-\udfff]")  # halves of characters, which no file can hold


def document(template: str, style: str, scripts: Sequence[str], data: object, **words: str) -> str:
    """The page as text.

    Args:
        template: Name of the HTML file with places `{{policy}}`, `{{style}}`, `{{data}}`,
            `{{script}}`.
        style: Name of the style sheet.
        scripts: Names of the scripts in the order in which they run, all in one function: nothing
            leaks into the page.
        data: What they show; see `embedded`.
        words: Place -> text, which is escaped.
    """
    folder = files("vlground.page")
    sheet = folder.joinpath(style).read_text("utf-8")
    bodies = [folder.joinpath(name).read_text("utf-8") for name in scripts]
    script = '(() => {\n"use strict";\n' + "\n".join(bodies) + "})();"
    # Nothing is loaded from anywhere, and no script runs but this one, whatever the data hold.
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(sheet)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": html.escape(policy), "style": sheet, "script": script}
    parts |= {"data": embedded(data)} | {name: html.escape(word) for name, word in words.items()}
    text = folder.joinpath(template).read_text("utf-8")
    # In one go: what is put in may itself hold something that looks like a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], text)


def embedded(value: object) -> str:
    r"""JSON that may stand inside `<script>`: no `<` in it opens or closes anything.

    NaN and infinity become null, halves of characters the sign for what cannot be shown.

    >>> embedded({"text": "</script>"})
    '{"text":"\\u003c/script>"}'
    """
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = _LONE.sub("\ufffd", text)
    # The two line separators are legal in JSON, but some tools break lines there.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _finite(value: object) -> object:
    """NaN and infinity, which JSON does not know, as null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value
