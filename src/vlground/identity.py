"""What a stage is: everything that its evidence depends on, as a hash."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from vlground.weights import commit_of, library_file, vocabulary_beside

# Options on which no number depends: where something lies (a checksum or a label stands for it),
# how much is computed or asked at once, and what it costs.
IRRELEVANT = frozenset(
    {"root", "checkpoint", "cache_dir", "pretrained", "tokenizer", "file", "device", "batch_size"}
    | {"export", "overlays", "base_url", "api_key_env", "concurrency", "requests_per_minute"}
    | {"weighs"}
    | {"attempts", "timeout", "backoff", "give_up", "price_in", "price_out"}
)

# Options whose content counts: weights, class names, maps made elsewhere.
WEIGHED = frozenset({"checkpoint", "pretrained", "tokenizer", "classes", "file"})

# Options whose content counts where they name a file, and which are no option of a number.
FILES = frozenset(
    {"captions", "objects", "questions", "relabelled", "synonyms", "statistics", "config"}
    | {"vocabulary", "compound_list", "stop_nouns", "text_encoder"}
)


def digest(value: object, length: int = 16) -> str:
    """SHA-256 of the canonical JSON of a value, as `length` hex digits.

    25 and 25.0 are one number, whether a file or the command line says it.

    >>> digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1.0})
    True
    """
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _canonical(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _canonical(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(child) for child in value]
    if isinstance(value, float):
        # Not a number is no option's value; who reads it says so, and its run has to lie somewhere.
        return (int(value) if value.is_integer() else value) if isfinite(value) else str(value)
    return value


def relevant(node: object) -> object:
    """A config node without the options on which no number depends.

    >>> relevant({"name": "voc", "root": "/data", "inner": {"device": "cuda", "k": 1}})
    {'name': 'voc', 'inner': {'k': 1}}
    """
    if isinstance(node, Mapping):
        kept = {
            key: value
            for key, value in node.items()
            if key not in IRRELEVANT and not (key in FILES and isinstance(value, str))
        }
        return {key: relevant(value) for key, value in kept.items()}
    if isinstance(node, list):
        return [relevant(value) for value in node]
    return node


def checksums(node: object) -> dict[str, str]:
    """What stands for the weights that a config node names, for the identity of a stage.

    Args:
        node: A config node; nested ones are looked into.

    Returns:
        Option -> SHA-256 of the file, or of all files of a folder; of a library's weights that of
        the file in its cache; of a name on the hub `name@commit`. What is in no cache is its name.
        A vocabulary read from beside a checkpoint is `tokenizer`.

    >>> checksums({"pretrained": True, "checkpoint": None, "image": {"pretrained": "a/name"}})
    {'pretrained': 'True', 'image.pretrained': 'a/name'}
    """
    if not isinstance(node, Mapping):
        return {}
    sums: dict[str, str] = {}
    for key, value in node.items():
        if key in WEIGHED | FILES and isinstance(value, str | bool if key in WEIGHED else str):
            sums[key] = _checksum(node, key)
        elif key in WEIGHED & IRRELEVANT and isinstance(value, list):
            sums[key] = digest([_checksum({key: one}, key) for one in value], 64)
        inner = checksums(value)
        sums.update({f"{key}.{name}": checksum for name, checksum in inner.items()})
    if beside := vocabulary_beside(node):
        sums["tokenizer"] = _of_files(beside, beside[0].parent)
    return sums


def _checksum(node: Mapping[str, Any], option: str) -> str:
    value = node[option]
    path = Path(str(value)).expanduser()
    if value == "":  # which Path takes for the current folder
        return ""
    if path.is_dir():
        return _of_files([file for file in path.rglob("*") if file.is_file()], path)
    file = library_file(node) if option == "pretrained" else None
    if file is not None or path.is_file():
        return _of_file(file or path)
    commit = commit_of(node, option)
    return str(value) if commit is None else f"{value}@{commit}"


def _of_files(files: Iterable[Path], folder: Path) -> str:
    parts = sorted(f"{file.relative_to(folder)} {_of_file(file)}" for file in files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _of_file(path: Path) -> str:
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """Read once a process, unless the file changes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class Stage:
    """One step of a chain and everything that its evidence depends on.

    Attributes:
        name: prediction, verdict, candidates …
        versions: Component -> the integer that it raises when its numbers change.
        reads: Config nodes the stage reads.
        checksums: Of weights, by name.
        parents: Fingerprints of the stages whose evidence it reads.
    """

    name: str
    versions: Mapping[str, int]
    reads: Mapping[str, object]
    checksums: Mapping[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()

    @property
    def description(self) -> dict[str, object]:
        """Everything that is hashed, as it is written to `stage.json`."""
        return {
            "name": self.name,
            "versions": dict(self.versions),
            "reads": relevant(dict(self.reads)),
            "checksums": dict(self.checksums),
            "parents": list(self.parents),
        }

    @property
    def fingerprint(self) -> str:
        """`<name>-<hash>`, the folder's name."""
        return f"{self.name}-{digest(self.description)}"
