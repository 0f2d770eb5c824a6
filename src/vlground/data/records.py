"""Records of captions, questions and answers: a JSON list, JSON lines, or objects in a row."""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlground.errors import VlgroundError

log = logging.getLogger("vlground")

_SPACE = re.compile(r"[\s,]*")
_NUMBER = re.compile(r"(?:.*_)?0*(\d+)")  # COCO_val2014_000000310196
_HALF = re.compile("[\ud800-\udfff]")  # a lone surrogate
_ENDINGS = (".jpg", ".jpeg", ".png")
_SHOWN = 5  # places of what was left out


@dataclass(frozen=True)
class Records:
    """What a file holds.

    Attributes:
        path: Of the file.
        records: Place in the file ("line 7") and object, in order.
        skipped: Reason -> number of things that are no record.
        checksum: SHA-256 of the file.
    """

    path: Path
    records: tuple[tuple[str, Mapping[str, Any]], ...]
    skipped: Mapping[str, int]
    checksum: str


def read_records(option: str, value: str | None) -> Records:
    """Read every object of a file; what is broken is counted, and a line says where.

    Args:
        option: That names the file, for messages (`dataset.captions`).
        value: The file.

    Raises:
        VlgroundError: There is no such file.
    """
    path = Path(value or "").expanduser()
    if value is None or not path.is_file():
        found = "no such file" if value else "nothing"
        raise VlgroundError(
            f"{option}={value}: expected a file of JSON objects (a list, one a line, or one after "
            f"the other), found {found}"
        )
    return _read(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> Records:
    content = path.read_bytes()
    # A torn end may cut a letter in two; the record that it is in is broken anyway.
    text = content.decode("utf-8-sig", errors="replace")
    found: list[tuple[str, Mapping[str, Any]]] = []
    left_out: list[tuple[str, str]] = []
    for place, node in _nodes(text):
        if isinstance(node, dict):
            found.append((place, node))
        else:
            left_out.append((place, node if isinstance(node, str) else "no object"))
    tell(path, left_out)
    skipped = Counter(reason for _, reason in left_out)
    return Records(path, tuple(found), skipped, hashlib.sha256(content).hexdigest())


def read_tabs(path: Path, names: Sequence[str]) -> Records:
    """Read lines of fields with tabs between, as records with `id`, the line's number from 0.

    Args:
        path: Of the file.
        names: Of the fields; the last one may be missing, and further tabs belong to it.
    """
    content = path.read_bytes()
    found: list[tuple[str, Mapping[str, Any]]] = []
    left_out: list[tuple[str, str]] = []
    # Not splitlines: an answer may hold other separators than the line's end.
    lines = content.decode("utf-8-sig", errors="replace").removesuffix("\n").split("\n")
    for number, line in enumerate(lines):
        fields = line.removesuffix("\r").split("\t", len(names) - 1)
        place = f"line {number + 1}"
        if len(fields) < len(names) - 1:
            left_out.append((place, "empty line" if not line.strip() else "too few fields"))
        else:
            found.append((place, {"id": number, **dict(zip(names, fields, strict=False))}))
    tell(path, left_out)
    skipped = Counter(reason for _, reason in left_out)
    return Records(path, tuple(found), skipped, hashlib.sha256(content).hexdigest())


def tell(path: Path, left_out: list[tuple[str, str]]) -> None:
    """Write a line in the log for each reason why parts of a file are left out.

    Args:
        path: Of the file.
        left_out: Place and reason of each.
    """
    reasons: dict[str, list[str]] = {}
    for place, reason in left_out:
        reasons.setdefault(reason, []).append(place)
    for reason, places in reasons.items():
        more = ", …" if len(places) > _SHOWN else ""
        log.warning(
            "%s: %d × %s (%s%s)", path, len(places), reason, ", ".join(places[:_SHOWN]), more
        )


def _nodes(text: str) -> Iterator[tuple[str, object]]:
    """Place and value of every value in a row or in one list; a text says what is wrong."""
    decoder = json.JSONDecoder()
    at = len(text) - len(text.lstrip())
    in_list = text.startswith("[", at)
    at += in_list
    indent: str | None = None
    line, counted = 1, 0
    while True:
        gap = _SPACE.match(text, at)
        at = gap.end() if gap else at
        line, counted = line + text.count("\n", counted, at), at
        if at >= len(text):
            if in_list:
                yield f"line {line}", "list without an end"
            return
        if in_list and text[at] == "]":
            return
        if indent is None:
            indent = text[text.rfind("\n", 0, at) + 1 : at]
        try:
            node, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            # The next object begins a line as the first one did.
            following = text.find(f"\n{indent}{{", at)
            if following < 0:
                yield f"line {line}", "torn end"
                return
            yield f"line {line}", "broken record"
            at = following + 1
            continue
        yield f"line {line}", None if isinstance(node, str) else node
        at = end


def text_of(record: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first of some keys that a record has, a number as its digits; None without one."""
    for key in keys:
        value = record.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return whole(
                str(int(value) if isinstance(value, float) and value.is_integer() else value)
            )
    return None


def whole(text: str) -> str:
    """A text in which half an emoji, which no file of ours can hold, is the sign for what is lost.

    >>> whole("a" + chr(0xD83D)) == "a\ufffd"
    True
    """
    return _HALF.sub("\ufffd", text)


def image_id_of(record: Mapping[str, Any]) -> str | None:
    """The image of a record: its number, also of a name of COCO's; else the name without ending.

    >>> image_id_of({"image": "COCO_val2014_000000310196.jpg"}), image_id_of({"image_id": 7})
    ('310196', '7')
    """
    name = text_of(record, ("image_id", "image", "image_name"))
    if name is None or not name.strip():
        return None
    stem = Path(name.strip()).name
    stem = stem.rsplit(".", 1)[0] if Path(stem).suffix else stem
    number = _NUMBER.fullmatch(stem)
    return number.group(1) if number and (stem.isdigit() or stem.startswith("COCO_")) else stem


def image_path(root: str | None, record: Mapping[str, Any], image_id: str) -> Path:
    """Where the image of a record lies: the file it names, `<image id>.jpg`, or one of that id."""
    name = text_of(record, ("image", "image_name")) or f"{image_id}.jpg"
    path = Path(root or "").expanduser() / name
    if root is None or path.is_file():
        return path
    return images_in(path.parent).get(image_id, path)


@lru_cache(maxsize=8)
def images_in(folder: Path) -> Mapping[str, Path]:
    """Image id -> file, of a folder whose files are named after ids, as COCO's."""
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    return {image_id_of({"image": path.name}) or path.stem: path for path in files}
