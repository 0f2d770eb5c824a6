"""A captioner behind any endpoint that speaks OpenAI's chat completions, such as vLLM."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from vlground.captioners.cache import CandidateCache
from vlground.captioners.caption import candidate_key
from vlground.captioners.choices import read_choices
from vlground.contracts import Caption, Captioner
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.endpoint.connection import Connection, Endpoint, Unanswered
from vlground.endpoint.messages import picture_digest, write_body
from vlground.endpoint.talk import Talk
from vlground.errors import VlgroundError

log = logging.getLogger("vlground")

Requests = Literal["each", "together"]


@dataclass(frozen=True, eq=False)
class _Job:
    """One request: the candidates of one image that it asks for."""

    picture: np.ndarray
    prompt: str
    seed: int
    keys: tuple[str, ...]


# Cache keys of a request, what came of each, and whether the server did not answer at all.
_Ended = tuple[tuple[str, ...], list[Caption], bool]


class ServerCaptioner(Captioner):
    """Asks a server for captions; what it wrote is kept and never asked for again.

    Every failure is a caption with a `problem`, never a text: a status (`429`), `time-out`,
    `connection`, `refusal`. It is asked again the next time. A key that is missing or wrong, and an
    empty account, stop the run.

    Args:
        label: What the server counts as; its address does not count.
        base_url: What precedes `/chat/completions`.
        model: Requested id. The one that answers is stored with every caption.
        api_key_env: NAME of the environment variable with the key; None: no key is sent.
        requests: `each`: a request a candidate, with its own seed from (seed, image id, index), so
            a candidate depends on nothing else. `together`: all candidates of an image in one
            request with one seed: the server reads the image once, and a candidate depends on `n`
            as well.
        temperature: None: the server's.
        top_p: None: the server's.
        max_tokens: Longest caption; None: the server's.
        log_probabilities: Whether to ask for those of the tokens. Whether they are of the model
            before temperature and top-p is the server's matter; vLLM's are, unless told otherwise.
        extra_body: More fields of the request, as the server names them.
        concurrency: Requests in flight at once.
        requests_per_minute: See `Endpoint`.
        attempts: See `Endpoint`.
        timeout: See `Endpoint`.
        backoff: See `Endpoint`.
        give_up: So many requests in a row that were not answered stop the run; None: never.
        cache_dir: The folder `runs`; None: nothing is kept.

    Attributes:
        calls: Requests that were sent, repeated ones included.

    Raises:
        VlgroundError: If an option does not fit.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        label: str,
        base_url: str,
        model: str,
        api_key_env: str | None = None,
        requests: Requests = "each",
        temperature: float | None = 1.0,
        top_p: float | None = None,
        max_tokens: int | None = 256,
        log_probabilities: bool = True,
        extra_body: Mapping[str, Any] | None = None,
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        attempts: int = 5,
        timeout: float = 60.0,
        backoff: float = 1.0,
        give_up: int | None = 20,
        cache_dir: str | None = None,
    ) -> None:
        if requests not in get_args(Requests):
            raise VlgroundError(f"model.requests={requests}: expected each or together")
        pace = (concurrency, requests_per_minute, attempts, timeout, backoff)
        self.endpoint = Endpoint("model", base_url, api_key_env, *pace)
        given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self._parameters: dict[str, Any] = {
            **{name: value for name, value in given.items() if value is not None},
            **({"logprobs": True} if log_probabilities else {}),
            **(extra_body or {}),
        }
        self._model, self._requests, self._give_up = model, requests, give_up
        asked = {
            "captioner": "server",
            "version": self.version,
            "endpoint": label,
            "model": model,
            "parameters": self._parameters,
            "requests": requests,
        }
        self.cache = CandidateCache(cache_dir, asked)
        self.calls = 0
        self._failed = 0
        self._told: set[str] = set()

    def caption(
        self, samples: Sequence[Sample], prompts: Sequence[str], n: int, seed: int, first: int = 0
    ) -> list[list[Caption]]:
        """The candidates `first` … `n - 1` of every image, from the cache where they are there.

        Args:
            samples: A batch.
            prompts: What is asked of each, beside the image.
            n: Candidates of an image.
            seed: See `candidate_key`.
            first: Those before it are not asked for; with `together` they are a part of the
                request all the same.

        Raises:
            ImageError: If an image cannot be read.
            VlgroundError: If the key is missing or wrong, or the server does not answer at all.
        """
        found: dict[str, Caption] = {}
        jobs: dict[tuple[str, ...], _Job] = {}
        rows = []
        for sample, prompt in zip(samples, prompts, strict=True):
            row: list[str] = []
            for job in self._jobs(sample, prompt, n, seed, first):
                row.extend(job.keys)
                known = {key: kept for key in job.keys if (kept := self.cache.get(key))}
                found.update(known)
                if len(known) < len(job.keys):
                    jobs[job.keys] = job
            rows.append(row[-(n - first) :] if first < n else [])
        try:
            for keys, captions in self._ask_all(list(jobs.values())):
                found.update(zip(keys, captions, strict=True))
        finally:
            self.cache.close()
        return [[found[key] for key in row] for row in rows]

    def _jobs(self, sample: Sample, prompt: str, n: int, seed: int, first: int) -> list[_Job]:
        """What a sample takes, if nothing is known yet."""
        if first >= n:
            return []
        picture = np.asarray(load_image(sample))
        common = {"image": picture_digest(picture), "prompt": prompt}
        if self._requests == "together":
            sent = _sent_seed(seed, sample.image_id, 0)
            common["n"] = str(n)  # how many are asked at once may change each of them
            keys = [self.cache.key({**common, "seed": sent, "index": i}) for i in range(n)]
            return [_Job(picture, prompt, sent, tuple(keys))]
        jobs = []
        for index in range(first, n):
            sent = _sent_seed(seed, sample.image_id, index)
            key = self.cache.key({**common, "seed": sent, "index": index})
            jobs.append(_Job(picture, prompt, sent, (key,)))
        return jobs

    def _ask_all(self, jobs: Sequence[_Job]) -> Iterator[tuple[tuple[str, ...], list[Caption]]]:
        """Send requests, and hand out what comes of each."""
        if not jobs:
            return
        waiting = iter(jobs)
        talk: Talk[_Ended] = Talk(self.endpoint)
        with talk:
            try:
                while True:
                    # Twice as many wait as are asked, so that no place is idle.
                    room = 2 * self.endpoint.concurrency - talk.background.pending
                    for job in islice(waiting, room):
                        talk.background.start(self._ask(talk.connection, job))
                    if not talk.background.pending:
                        return
                    for keys, captions, failed in talk.background.take(wait=True):
                        self._failed = self._failed + 1 if failed else 0
                        yield keys, captions
                        self._stop_if_dead(captions)
            finally:
                self.calls += talk.new_calls()

    def _stop_if_dead(self, captions: Sequence[Caption]) -> None:
        if self._give_up is not None and self._failed >= self._give_up:
            told = f"{self._failed} requests in a row were not answered: {captions[0].problem}"
            again = "start again to go on from what is kept"
            raise VlgroundError(f"model.give_up={self._give_up}: {told}; {again}")

    async def _ask(self, connection: Connection, job: _Job) -> _Ended:
        count = len(job.keys)
        fields = {**self._parameters, "seed": job.seed, **({"n": count} if count > 1 else {})}
        body = await asyncio.to_thread(write_body, self._model, job.prompt, [job.picture], fields)
        try:
            answer = await connection.post(body)
        except Unanswered as failure:
            self._tell(failure.reason, failure.detail)
            return job.keys, [Caption("", problem=failure.reason)] * count, not failure.refused
        captions = read_choices(answer, count)
        for key, caption in zip(job.keys, captions, strict=True):
            self.cache.put(key, caption)
        return job.keys, captions, False

    def _tell(self, reason: str, detail: str) -> None:
        """Say what the server said, once a reason."""
        if reason not in self._told:
            self._told.add(reason)
            told = f"{reason}: {detail}" if detail else reason
            log.warning("the captioner did not answer: %s", told)


def _sent_seed(seed: int, image_id: str, index: int) -> int:
    """31 bits: what every server takes."""
    return candidate_key(seed, image_id, index) >> 33
