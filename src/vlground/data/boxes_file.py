"""Boxes of your own: photos beside one CSV or JSON file."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from vlground.data.annotated import Annotated
from vlground.data.annotators import Annotators, joined, least_agreement
from vlground.data.files import format_of, read_json
from vlground.errors import VlgroundError

_CORNERS = ("x0", "y0", "x1", "y1")
_COLUMNS = ("image", "text", *_CORNERS)
_OPTIONAL = ("id", "foil", "annotator")
_SHOWN = 5  # bad lines
_Entry = dict[str, Any]  # image, text, boxes, and what is given of _OPTIONAL


class _BadLineError(Exception):
    """Why a line is no box, in a few words."""


@dataclass
class _Phrase:
    """A sample to be: the lines of the same id."""

    image: str
    text: str
    foil: str | None
    boxes: dict[str, list[list[float]]]  # by annotator


class Boxes(Annotated):
    """`boxes.csv` or `boxes.json`; one sample per (image, text), or per id where lines have one.

    CSV: a header `image,text,x0,y0,x1,y1` with `id`, `foil` and `annotator` if you like, then a box
    a line; JSON: a list of `{"image": …, "text": …, "boxes": [[x0, y0, x1, y1], …]}`, also with
    those, an entry for each phrase and annotator. Boxes of one phrase by several annotators are the
    same things drawn again. Malformed lines, an empty box among them, refuse the file. Boxes are
    half-open continuous pixels: the whole of a 640 × 480 photo is `0, 0, 640, 480`. They are taken
    as they are, since the file has no image sizes (the metric clips, and says which lie outside).
    Images are named relative to the file. Sample ids, where not given, are `<image>/<text>`; images
    come in the order they are first named.

    Args:
        root: The file, or a folder with `boxes.csv` or `boxes.json`.
        seed: Of the foils that the file does not give: texts of other images.
        annotators: What stands for a phrase with several annotators: the union of all their boxes,
            or those of the first.
        agreement: Two annotators whose boxes have a smaller IoU disagree about what the text means:
            the phrase is left out, and counted. None: all are kept.

    Raises:
        VlgroundError: There is no such file, an option is impossible, or lines are malformed, which
            are named by number.
    """

    def __init__(
        self,
        root: str | None,
        seed: int,
        annotators: Annotators = "union",
        agreement: float | None = 0.5,
    ) -> None:
        super().__init__()
        if annotators not in get_args(Annotators):
            raise VlgroundError(f"dataset.annotators={annotators}: expected union or first")
        if agreement is not None and not 0 <= agreement <= 1:
            raise VlgroundError(f"dataset.agreement={agreement}: expected 0 to 1, or null")
        path = _found(root)
        phrases: dict[str, _Phrase] = {}
        bad: list[str] = []
        with format_of(path, "boxes"):
            entries = _json_entries(path) if path.suffix == ".json" else _csv_entries(path)
            for place, entry in entries:
                try:
                    _collect(phrases, entry, whole=path.suffix == ".json")
                except _BadLineError as error:
                    bad.append(f"{place} {error}")
        if bad:
            more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
            raise VlgroundError(f"{path}: {'; '.join(bad[:_SHOWN])}{more}")
        for name, one in phrases.items():
            if agreement is not None and least_agreement(one.boxes) < agreement:
                self._left_out("annotators disagree")
                self._true(one.image, one.text)
                continue
            file, boxes = path.parent / one.image, joined(one.boxes, annotators)
            self._add(name, one.image, file, one.text, boxes, foil=one.foil)
        self._finish(seed)


def _found(root: str | None) -> Path:
    path = Path(root or "").expanduser()
    tried = [path] if path.is_file() else [path / "boxes.csv", path / "boxes.json"]
    there = [file for file in tried if file.is_file()]
    if root is None or len(there) != 1 or there[0].suffix not in (".csv", ".json"):
        found = "nothing" if root is None or not there else " and ".join(f.name for f in there)
        raise VlgroundError(
            f"dataset.root={root}: expected a .csv or .json file, or a folder with boxes.csv "
            f"(image,text,x0,y0,x1,y1) or boxes.json, found {found}"
        )
    return there[0]


def _csv_entries(path: Path) -> Iterator[tuple[str, _Entry | str]]:
    """Place and content of every line; of a malformed one what is wrong."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        header = [name.strip() for name in next(rows, [])]
        if sorted(header) != sorted({*_COLUMNS, *(name for name in _OPTIONAL if name in header)}):
            expected = f"{','.join(_COLUMNS)}[,{'][,'.join(_OPTIONAL)}]"
            raise VlgroundError(f"{path}: line 1 is {','.join(header)}, expected {expected}")
        for values in rows:
            if not values:
                continue
            entry: _Entry | str = f"has {len(values)} values, expected {len(header)}"
            if len(values) == len(header):
                row = dict(zip(header, values, strict=True))
                entry = {**row, "boxes": [[row.pop(name) for name in _CORNERS]]}
            yield f"line {rows.line_num}", entry


def _json_entries(path: Path) -> Iterator[tuple[str, _Entry | str]]:
    """Place and content of every entry; of a malformed one what is wrong."""
    keys = {"image", "text", "boxes"}
    for number, entry in enumerate(read_json(path), start=1):
        right = isinstance(entry, dict) and keys <= entry.keys() <= {*keys, *_OPTIONAL}
        expected = f"is no object with {', '.join(sorted(keys))} and perhaps {', '.join(_OPTIONAL)}"
        yield f"entry {number}", entry if right else expected


def _collect(phrases: dict[str, _Phrase], entry: _Entry | str, whole: bool) -> None:
    """Add the boxes of a line, or of an entry, which is `whole`, to their phrase."""
    if isinstance(entry, str):
        raise _BadLineError(entry)
    image, text = (str(entry[key]).strip() for key in ("image", "text"))
    # An empty cell of an optional column is none.
    given, foil, annotator = (str(entry.get(key) or "").strip() or None for key in _OPTIONAL)
    if not image or not text:
        raise _BadLineError("has no image or no text")
    if foil and foil.casefold() == text.casefold():
        raise _BadLineError("has its text as foil")
    if not isinstance(entry["boxes"], list):
        raise _BadLineError(f"has no list of boxes in {entry['boxes']}")
    boxes = [_corners(box) for box in entry["boxes"]]
    if not boxes:
        raise _BadLineError("has no box")
    name = given or f"{image}/{text}"
    phrase = phrases.setdefault(name, _Phrase(image, text, foil, {}))
    if (phrase.image, phrase.text, phrase.foil) != (image, text, foil):
        raise _BadLineError(f"has the id {name} of another image, text or foil")
    if whole and (annotator or "") in phrase.boxes:
        raise _BadLineError(f"has the id {name} of another entry")
    phrase.boxes.setdefault(annotator or "", []).extend(boxes)


def _corners(box: Sequence[Any]) -> list[float]:
    try:
        x0, y0, x1, y1 = map(float, box)
    except (TypeError, ValueError) as error:
        raise _BadLineError(f"has no four numbers in {_shown(box)}") from error
    if not (math.isfinite(x0 + y0 + x1 + y1) and x0 < x1 and y0 < y1):
        raise _BadLineError(f"is not x0 < x1, y0 < y1 in {_shown(box)}")
    return [x0, y0, x1, y1]


def _shown(box: object) -> str:
    return ", ".join(map(str, box)) if isinstance(box, list) else str(box)
