"""Candidates that a server wrote once are never asked for again.

They lie in an evidence store (see `vlground.store`), `runs/evidence/sampled-…`: each is appended as
soon as it is there, so `kill -9` loses none of it, and any number of processes may share it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlground.contracts import Caption
from vlground.identity import Stage, digest
from vlground.store import Evidence, EvidenceStore

_FORMAT = 1  # of what is kept; raise it when old candidates can no longer be read


class CandidateCache:
    """Captions by everything that they depend on.

    Args:
        directory: The folder `runs`; None: nothing is kept.
        asked: What all requests have in common: label of the server, requested model, parameters.
            Never an address, a key or how many are asked at once.
    """

    def __init__(self, directory: str | None, asked: Mapping[str, Any]) -> None:
        self._asked = dict(asked)
        self._given: dict[str, Caption] = {}
        self._store = None
        if directory is not None:
            stage = Stage("sampled", {"sampled": _FORMAT}, {})
            self._store = EvidenceStore(Path(directory).expanduser(), stage)

    def key(self, candidate: Mapping[str, Any]) -> str:
        """64 hex digits that stand for a candidate: picture, prompt, seed, index."""
        return digest({**self._asked, **candidate}, 64)

    def get(self, key: str) -> Caption | None:
        """What was written; None if nothing was."""
        if key in self._given:
            return self._given[key]
        if self._store is None or key not in self._store:
            return None
        kept: dict[str, Any] = dict(self._store[key])
        known = kept["log_probabilities"]
        return Caption(
            kept["text"],
            None if known is None else tuple(known),
            kept["cut_off"],
            model=kept["model"],
        )

    def put(self, key: str, caption: Caption) -> None:
        """Keep a caption if it is one; what returns from here survives `kill -9`.

        Raises:
            VlgroundError: If the disk is full or the folder cannot be written.
        """
        if self._store is None or caption.problem:
            return
        known = caption.log_probabilities
        evidence: Evidence = {
            "text": caption.text,
            "log_probabilities": None if known is None else list(known),
            "cut_off": caption.cut_off,
            "model": caption.model,
        }
        self._store.append([(key, evidence)])
        self._given[key] = caption

    def close(self) -> None:
        """Release files; the cache may be used again afterwards."""
        if self._store is not None:
            self._store.close()
