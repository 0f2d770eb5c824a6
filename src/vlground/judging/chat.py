"""A judge behind any endpoint that speaks OpenAI's chat completions."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, get_args

from vlground.contracts import Judge, JudgeRequest, Verdict
from vlground.endpoint.connection import Connection, Endpoint, Unanswered
from vlground.endpoint.messages import write_body
from vlground.endpoint.talk import Talk
from vlground.errors import VlgroundError
from vlground.judging.answer import error
from vlground.judging.cache import AnswerCache
from vlground.judging.messages import (
    Score,
    Structured,
    check_option,
    parameters,
    read_answer,
)
from vlground.judging.prompt import Form, load_prompt
from vlground.judging.usage import Usage

log = logging.getLogger("vlground")

# Key of a question, its verdict, and whether the endpoint failed to answer at all.
_Ended = tuple[str, Verdict, bool]


class ChatJudge(Judge):
    """Asks an endpoint: OpenAI, Gemini's compatible one, vLLM, SGLang, llama.cpp and others.

    Every failure is an error with its reason, never a score: a status (`429`), `time-out`,
    `connection`, an answer that is not as asked (see `vlground.judging.answer`). A refusal is one.
    A key that is missing or wrong, and an empty account, stop the run.

    Scores are kept as soon as they are known and never asked for again, by label, requested model,
    prompt and parameters; errors and refusals are. The same question twice in a run is asked once.

    Args:
        label: What the endpoint counts as; its address does not count.
        base_url: What precedes `/chat/completions`.
        model: Requested id. The one that answers is stored with every verdict.
        api_key_env: NAME of the environment variable with the key; None: no key is sent.
        prompt: See `load_prompt`.
        score: `written`: a JSON object with description, justification and score. `digits`: the
            expected score from the probabilities of the first token (see `read_digits`), without
            words; for endpoints with `top_logprobs`.
        structured: How `written` is asked for: with a strict `json_schema`, with `json_object`, or
            in words alone (`none`). The answer is read equally strictly.
        lowest_mass: With `digits`: probability of all digits below which it is an error.
        temperature: None: the endpoint's; some models accept no other.
        max_tokens: Longest answer; None: not sent.
        extra_body: More fields of the request, as the endpoint names them.
        concurrency: Requests in flight at once.
        requests_per_minute: See `Endpoint`.
        attempts: See `Endpoint`.
        timeout: See `Endpoint`.
        backoff: See `Endpoint`.
        give_up: So many requests in a row that the endpoint did not answer (a status, no
            connection, a time-out) stop the run; None: never.
        price_in: For a million tokens of requests, for `usage`; None: not known.
        price_out: For a million tokens of answers.
        cache_dir: The folder `runs`; None: nothing is kept.

    Attributes:
        usage: What came of requests so far and what they cost.

    Raises:
        VlgroundError: If an option does not fit.
    """

    version = 1

    def __init__(
        self,
        label: str,
        base_url: str,
        model: str,
        api_key_env: str | None = None,
        prompt: str = "full",
        score: Score = "written",
        structured: Structured = "json_schema",
        lowest_mass: float = 0.5,
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        extra_body: Mapping[str, Any] | None = None,
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        attempts: int = 5,
        timeout: float = 60.0,
        backoff: float = 1.0,
        give_up: int | None = 50,
        price_in: float | None = None,
        price_out: float | None = None,
        cache_dir: str | None = None,
    ) -> None:
        check_option("score", score, get_args(Score))
        check_option("structured", structured, get_args(Structured))
        pace = (concurrency, requests_per_minute, attempts, timeout, backoff)
        self.endpoint = Endpoint("judge", base_url, api_key_env, *pace)
        self.prompt = load_prompt(prompt)
        self.form: Form = "digit" if score == "digits" else "json"
        self.prompt.check(self.form)
        self.shows, self.highest = self.prompt.shows, self.prompt.highest
        self.usage = Usage(price_in, price_out)
        self._model, self._lowest_mass, self._give_up = model, lowest_mass, give_up
        self._parameters = parameters(
            score, structured, temperature, max_tokens, extra_body, self.highest
        )
        asked = {
            "judge": "chat",
            "version": self.version,
            "endpoint": label,
            "model": model,
            "prompt": [self.prompt.name, self.prompt.version],
            "lowest_mass": lowest_mass if score == "digits" else None,
            "parameters": self._parameters,
        }
        self.cache = AnswerCache(cache_dir, asked)
        self._failed = 0
        self._told: set[str] = set()

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Answer requests, each as soon as it is known (see the base class).

        Requests are taken as they are needed; nobody is asked before the first that was never
        answered, and then the key is read.

        Raises:
            VlgroundError: If the key is missing or wrong, or the endpoint does not answer at all.
        """
        self.cache.refresh()
        self._failed = 0
        waiting: dict[str, list[JudgeRequest]] = {}
        with ExitStack() as stack:
            talk: Talk[_Ended] | None = None
            stack.callback(self.cache.close)
            for request in requests:
                words = self.prompt.write(request, self.form)
                key = self.cache.key(request, words)
                if known := self.cache.get(key):
                    yield request, self._count(known)
                elif key in waiting:
                    waiting[key].append(request)
                else:
                    talk = talk or stack.enter_context(Talk(self.endpoint))
                    waiting[key] = [request]
                    talk.background.start(self._ask(talk.connection, key, words, request))
                if talk is not None:  # twice as many wait as are asked, so that no place is idle
                    full = talk.background.pending >= 2 * self.endpoint.concurrency
                    yield from self._finish(talk, waiting, wait=full)
            while talk is not None and waiting:
                yield from self._finish(talk, waiting, wait=True)

    def _finish(
        self, talk: Talk[_Ended], waiting: dict[str, list[JudgeRequest]], wait: bool
    ) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Hand out what is known by now."""
        for key, verdict, failed in talk.background.take(wait):
            self.usage.calls += talk.new_calls()
            self._failed = self._failed + 1 if failed else 0
            for number, request in enumerate(waiting.pop(key)):
                again = number > 0 and verdict.outcome == "score"
                yield request, self._count(replace(verdict, cached=True) if again else verdict)
            if self._give_up is not None and self._failed >= self._give_up:
                told = f"{self._failed} requests in a row were not answered: {verdict.reason}"
                kept = "start again to go on from what was" if self.usage.scores else "see the log"
                raise VlgroundError(f"judge.give_up={self._give_up}: {told}; {kept}")

    async def _ask(
        self, connection: Connection, key: str, words: str, request: JudgeRequest
    ) -> _Ended:
        body = await asyncio.to_thread(
            write_body, self._model, words, request.images, self._parameters
        )
        try:
            found = await connection.post(body)
        except Unanswered as failure:
            self._tell(failure.reason, failure.detail)
            if failure.refused:
                return key, Verdict("refusal", reason=failure.reason), False
            return key, error(failure.reason), True
        verdict = read_answer(found, self.form, self._lowest_mass, self.highest)
        self.cache.put(key, verdict)
        return key, verdict, False

    def _count(self, verdict: Verdict) -> Verdict:
        """Add to `usage`, and say so when another model answers."""
        model = verdict.model
        if model is not None and model not in self.usage.models:
            if self.usage.models:
                before = ", ".join(self.usage.models)
                log.warning("the judge is now %s, it was %s: scores may not compare", model, before)
            elif model != self._model:
                log.info("judge.model=%s: the endpoint answers as %s", self._model, model)
        self.usage.add(verdict)
        return verdict

    def _tell(self, reason: str, detail: str) -> None:
        """Say what the endpoint said, once a reason."""
        if reason not in self._told:
            self._told.add(reason)
            log.warning("the judge did not answer: %s", f"{reason}: {detail}" if detail else reason)
