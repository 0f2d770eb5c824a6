"""The evidence store.

    runs/evidence/<stage>/stage.json      what the stage is
    runs/evidence/<stage>/*.segment       its evidence, keyed per sample

A segment belongs to one writing process, which only appends to it. Every record carries a checksum,
so a process killed in the middle of a write loses that record and no other, and a reader never
mistakes half a record for evidence. There are no locks and no database: any number of processes,
also on a network file system, may read and write one stage. Who makes which evidence they agree on
by leases, see `vlground.leases`.
"""

import json
import logging
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from vlground.identity import Stage
from vlground.leases import Leases
from vlground.whole import one_line_on_failure, write_json

log = logging.getLogger("vlground")

Evidence = dict[str, np.ndarray | str | int | float | bool | list[float] | list[str] | None]

_HEADER = struct.Struct("<4sHII")  # magic, bytes of key, bytes of payload, checksum of both
_MAGIC = b"VLG1"

_HANDED_OVER = 1.0  # seconds from one time to the next that what was made is given to others
_POLL = 0.5  # seconds between two looks at what another process makes


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
