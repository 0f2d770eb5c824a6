"""JSON, XML and pickles of published data sets, read so that nothing in them is executed."""

import json
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vlground.errors import VlgroundError

_CHUNK = 1 << 24  # characters, a few thousand times an element of Visual Genome
_BETWEEN = re.compile(r"[\s,]*")


@contextmanager
def format_of(path: Path, name: str) -> Iterator[None]:
    """Turn what broken content raises into one line.

    Raises:
        VlgroundError: Something is missing from the file or of another type.
    """
    try:
        yield
    # AttributeError: a list or None where a text or a dict is expected.
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise VlgroundError(f"{path}: not in the format of {name}: {reason}") from error


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    """All of a JSON file without its `segmentation`s, most of a COCO file, which nobody reads."""

    def without_outlines(node: dict[str, Any]) -> dict[str, Any]:
        node.pop("segmentation", None)
        return node

    with path.open(encoding="utf-8") as file:
        return json.load(file, object_hook=without_outlines)


def iterate_json(path: Path) -> Iterator[Any]:
    """The objects of a JSON list one by one, for files of gigabytes.

    Raises:
        ValueError: It is no list of objects.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8") as file:
        text = file.read(_CHUNK).lstrip()
        if not text.startswith("["):
            raise ValueError("no list")
        place = 1
        while True:
            gap = _BETWEEN.match(text, place)
            place = gap.end() if gap else place
            if text.startswith("]", place):
                return
            try:
                value, place = decoder.raw_decode(text, place)
            except json.JSONDecodeError:  # the object goes on in what is not read yet
                more = file.read(_CHUNK)
                if not more:
                    raise
                text, place = text[place:] + more, 0
            else:
                yield value


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, the only door to entities that expand without end or read files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError(f"document type {name}")


def parse_xml(path: Path) -> ElementTree.Element:
    """Parse an XML file without entities.

    Raises:
        ParseError: It is not well-formed.
        LookupError: Its encoding is unknown.
        ValueError: It has a document type.
    """
    parser = ElementTree.XMLParser(target=_NoDoctype())
    return ElementTree.fromstring(path.read_bytes(), parser)


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, tuples, texts, numbers and None, for which nothing is imported."""

    def find_class(self, module_name: str, global_name: str) -> Any:  # noqa: ANN401
        raise pickle.UnpicklingError(f"it wants to import {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401
        raise pickle.UnpicklingError("it refers to an object outside the file")


def read_plain_pickle(path: Path) -> Any:  # noqa: ANN401 - any plain data
    """Read a pickle that holds plain data; nothing in it is executed.

    Those of Python 2 are read too, their byte strings as Latin-1.

    Raises:
        VlgroundError: It asks for a class or function, which could run any code, or is broken.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a broken pickle raises nearly anything
        reason = " ".join((str(error) or type(error).__name__).split())
        raise VlgroundError(f"{path}: refused as a pickle of plain data: {reason}") from error
