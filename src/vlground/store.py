"""What lands on disk: stage identity, the evidence store, results.

    runs/evidence/<stage>/stage.json      what the stage is
    runs/evidence/<stage>/*.segment       its evidence, keyed per sample

A segment belongs to one writing process, which only appends to it. Every record carries a checksum,
so a process killed in the middle of a write loses that record and no other, and a reader never
mistakes half a record for evidence. There are no locks and no database: any number of processes,
also on a network file system, may read and write one stage. Who makes which evidence they agree on
by leases, see `vlground.leases`.
"""

import hashlib
import json
import logging
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from vlground.errors import VlgroundError
from vlground.leases import Leases
from vlground.weights import commit_of, library_file, vocabulary_beside

log = logging.getLogger("vlground")

Evidence = dict[str, np.ndarray | str | int | float | bool | list[float] | list[str] | None]

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

_HEADER = struct.Struct("<4sHII")  # magic, bytes of key, bytes of payload, checksum of both
_MAGIC = b"VLG1"

_HANDED_OVER = 1.0  # seconds from one time to the next that what was made is given to others
_POLL = 0.5  # seconds between two looks at what another process makes


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


class EvidenceStore:
    """The evidence of one stage, a mapping from sample key to evidence.

    Args:
        runs: The folder `runs`.
        stage: Whose evidence this is.
    """

    def __init__(self, runs: Path, stage: Stage) -> None:
        self.directory = runs / "evidence" / stage.fingerprint
        self.stage = stage
        self.damaged: list[Path] = []
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._files: dict[Path, BinaryIO] = {}
        self._segment: BinaryIO | None = None
        self._ends: dict[Path, int] = {}
        self._leases = Leases(self.directory)
        self._left: set[str] = set()
        self._made: list[str] = []
        self._handed_over = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Read the index again; evidence of other processes becomes visible."""
        self.close()
        self._places, self._ends = {}, {}
        self._catch_up()

    def _catch_up(self) -> None:
        """Read what was written to the index since it was read."""
        own = None if self._segment is None else Path(self._segment.name).name
        self.damaged = []
        there = os.listdir(self.directory) if self.directory.is_dir() else []
        for name in sorted(name for name in there if name.endswith(".segment")):
            if name == own:
                continue  # read when it is closed: nobody asks for what he has just made
            path = self.directory / name
            with path.open("rb") as file:  # opened, because NFS then asks how long it is
                end = file.seek(self._ends.get(path, 0))
                for key, start, stop in _records(file):
                    self._places.setdefault(key, (path, start, stop))
                    end = stop
                if end != os.fstat(file.fileno()).st_size:
                    self.damaged.append(path)
            self._ends[path] = end

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: str) -> Evidence:
        """Read one piece of evidence.

        Raises:
            KeyError: If there is none under this key.
        """
        path, start, stop = self._places[key]
        if path not in self._files:
            self._files[path] = path.open("rb")
        # Read, not mapped: mapped pages would count as this process's memory.
        payload = os.pread(self._files[path].fileno(), stop - start, start)
        end = 8 + int.from_bytes(payload[:8], "little")  # of the header, see safetensors
        if payload.count(b'"dtype"', 8, end) == 1:  # no arrays, as of captions: twice as fast
            told: Evidence = json.loads(payload[end:].decode())
            return told
        arrays = load_arrays(payload)
        evidence: Evidence = json.loads(arrays.pop("json").tobytes())
        evidence.update(arrays)
        return evidence

    def append(self, records: Iterable[tuple[str, Evidence]]) -> None:
        """Add a batch; what returns from here survives `kill -9`.

        Raises:
            VlgroundError: If the folder cannot be written (full disk, no permission).
        """
        made = list(records)
        if not made:
            return
        with one_line_on_failure(self.directory):
            if self._segment is None:
                self._open_segment()
            assert self._segment is not None
            self._segment.write(b"".join(_encode(key, one) for key, one in made))
            self._segment.flush()
        self._made += [key for key, _ in made if key in self._leases]
        if self._made and time.monotonic() - self._handed_over > _HANDED_OVER:
            self._hand_over()

    def take(self, keys: Sequence[str]) -> bool:
        """Claim the evidence of some keys, so that no other process makes it meanwhile.

        Args:
            keys: Of a batch; what is stored already is not claimed.

        Returns:
            Whether this process is to make what is missing of it. If not, because there is nothing
            missing or another process makes some of it, `wait` says later what became of it.

        Raises:
            VlgroundError: If the folder cannot be written.
        """
        wanted = sorted({key for key in keys if key not in self})
        with one_line_on_failure(self.directory):
            # In order: of two who want the same, one comes through.
            taken = bool(wanted) and all(self._leases.take(key) for key in wanted)
            if taken:
                self._catch_up()  # who had a lease before may have stored it
                taken = not any(key in self for key in wanted)
            if not taken:
                self._leases.release(wanted)
                self._left.update(wanted)
        return taken

    def mine(self, keys: Sequence[str], together: int = 16) -> Iterator[str]:
        """Those of some keys whose evidence this process is to make, see `take`.

        Args:
            keys: Of which nothing is stored.
            together: So many are claimed at once, when the first of them is asked for.
        """
        for start in range(0, len(keys), together):
            part = keys[start : start + together]
            if self.take(part):
                yield from part

    def release(self) -> None:
        """Give back every claim, of what was made and of what could not be made."""
        with suppress(OSError):
            self._hand_over()
        self._leases.end()

    def wait(self) -> bool:
        """Wait for what other processes were found making, and read it.

        Returns:
            Whether some of it is still to be made: whoever made it is dead, or gave it up.
        """
        self.refresh()
        told = False
        while left := {key for key in self._left if key not in self}:
            if not all(self._leases.taken(key) for key in left):
                break
            if not told:
                log.info("%s: another process makes %d of it", self.directory.name, len(left))
                told = True
            time.sleep(_POLL)
            self._catch_up()
        self._left = set()
        return bool(left)

    def _hand_over(self) -> None:
        """Let others have what was made: they look for it where a lease is gone."""
        if self._made and self._segment is not None:
            os.fsync(self._segment.fileno())  # only then is it there for other hosts
        self._leases.release(self._made)
        self._made, self._handed_over = [], time.monotonic()

    def close(self) -> None:
        """Release files; the store may be used again afterwards."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        for file in self._files.values():
            file.close()
        self._files = {}

    def _open_segment(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        description = self.directory / "stage.json"
        if not description.exists():
            write_json(description, self.stage.description)
        self._segment = (self.directory / f"{uuid.uuid4().hex}.segment").open("xb")


def write_json(path: Path, value: object) -> None:
    """Write JSON through a temporary file and `os.replace`: whole, or not at all."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` if the block ends well.

    Raises:
        VlgroundError: If the disk is full or the folder cannot be written; `path` is untouched.
    """
    # Two hosts may have processes of one number.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with one_line_on_failure(path):
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def one_line_on_failure(path: Path) -> Iterator[None]:
    """Turn a failed write of the block into one line with the path and the option to change."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        known = error.strerror if isinstance(error, OSError) else None
        reason = known or str(error)
        raise VlgroundError(f"{path}: cannot write: {reason} (change it with runs=DIR)") from error


def _encode(key: str, evidence: Evidence) -> bytes:
    arrays = {k: np.ascontiguousarray(v) for k, v in evidence.items() if isinstance(v, np.ndarray)}
    rest = {k: v for k, v in evidence.items() if not isinstance(v, np.ndarray)}
    text = json.dumps(rest, sort_keys=True).encode()
    arrays["json"] = np.frombuffer(text, dtype=np.uint8)
    name, payload = key.encode(), save_arrays(arrays)
    header = _HEADER.pack(_MAGIC, len(name), len(payload), zlib.crc32(payload, zlib.crc32(name)))
    return header + name + payload


def _records(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Key and place of every whole record from here on, up to the first that is torn."""
    position = file.tell()
    while len(header := file.read(_HEADER.size)) == _HEADER.size:
        magic, name_size, payload_size, checksum = _HEADER.unpack(header)
        if magic != _MAGIC:
            return
        body = file.read(name_size + payload_size)
        start = position + _HEADER.size + name_size
        position = start + payload_size
        if len(body) != name_size + payload_size or zlib.crc32(body) != checksum:
            return
        yield body[:name_size].decode(), start, position
