"""Answers that were given once are never asked for again: complete successes, kept on disk.

They lie in an evidence store (see `vlground.store`), `runs/evidence/answers-…`: what a judge is
told is appended at once, so `kill -9` loses none of it, and any number of processes may share it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlground.contracts import JudgeRequest, Verdict
from vlground.endpoint.messages import picture_digest
from vlground.identity import Stage, digest
from vlground.store import EvidenceStore

_FORMAT = 1  # of what is kept; raise it when old answers can no longer be read


class AnswerCache:
    """Verdicts by everything that they depend on.

    Args:
        directory: The folder `runs`; None: nothing is kept.
        asked: What all requests of a judge have in common: label of the endpoint, requested model,
            prompt, parameters. Never an address, a key or how many are asked at once.
    """

    def __init__(self, directory: str | None, asked: Mapping[str, Any]) -> None:
        self._asked = dict(asked)
        self._given: dict[str, Verdict] = {}
        self._store = None
        if directory is not None:
            stage = Stage("answers", {"answers": _FORMAT}, {})
            self._store = EvidenceStore(Path(directory).expanduser(), stage)

    def refresh(self) -> None:
        """See what other processes have been told in the meantime."""
        if self._store is not None:
            self._store.refresh()
            self._given = {}

    def key(self, request: JudgeRequest, words: str) -> str:
        """64 hex digits that stand for a question.

        Args:
            request: Its pixels count, its key does not: two samples may ask the same.
            words: What is asked, as the prompt writes it.
        """
        pictures = [picture_digest(image) for image in request.images]
        return digest({**self._asked, "words": words, "images": pictures}, 64)

    def get(self, key: str) -> Verdict | None:
        """What was answered, marked as `cached`; None if nothing was."""
        if key in self._given:
            return self._given[key]
        if self._store is None or key not in self._store:
            return None
        known: dict[str, Any] = dict(self._store[key])
        return Verdict("score", cached=True, **known)

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict if it is a score; what returns from here survives `kill -9`.

        Raises:
            VlgroundError: If the disk is full or the folder cannot be written.
        """
        if self._store is None or verdict.outcome != "score":
            return
        kept = ("score", "description", "justification", "model", "tokens_in", "tokens_out")
        self._store.append([(key, {name: getattr(verdict, name) for name in kept})])
        self._given[key] = Verdict(
            "score", cached=True, **{name: getattr(verdict, name) for name in kept}
        )

    def close(self) -> None:
        """Release files; the cache may be used again afterwards."""
        if self._store is not None:
            self._store.close()
