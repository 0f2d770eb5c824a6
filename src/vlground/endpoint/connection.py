"""An endpoint that speaks OpenAI's chat completions: requests, retries, pace, and no key in words.

The key is read from the environment when the first request is sent and lives in that session's
headers alone. Everything that an endpoint says passes `_without`, for some repeat the key.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from vlground.endpoint.secrets import Group, refuse_secrets
from vlground.errors import VlgroundError

_PASSING = frozenset({408, 429, 500, 502, 503, 504, 529})  # statuses that may be others next time
_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_LONGEST_WAIT = 120.0  # seconds: who asks for more is not waited for
_SHORTEST_KEY = 8  # what is shorter ("EMPTY", for servers that want none) is no secret


class Unanswered(Exception):
    """A request that the endpoint did not answer.

    Attributes:
        reason: In words that are counted.
        detail: What the endpoint said about it, without the key.
        refused: For what the picture or the words are, not for what the endpoint is.
        again: The same request may be answered next time.
        after: Seconds that the endpoint wants to be left alone; None: it does not say.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        refused: bool = False,
        again: bool = False,
        after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.refused = reason, detail, refused
        self.again, self.after = again, after


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask.

    Attributes:
        group: Whose options these are, for messages.
        base_url: What precedes `/chat/completions`.
        api_key_env: NAME of the environment variable that holds the key; None: no key is sent.
        concurrency: Requests in flight at once.
        requests_per_minute: At most, repeated ones included; None: no limit.
        attempts: At one request: after 408, 429, 500, 502, 503, 504, 529, a connection that breaks
            and a time-out.
        timeout: Seconds that an answer may take in all.
        backoff: Seconds before the second attempt; twice as long before each further one, times a
            random number in 0.5-1. A longer Retry-After counts, up to 120 s.

    Raises:
        VlgroundError: If an option does not fit.
    """

    group: Group
    base_url: str
    api_key_env: str | None = None
    concurrency: int = 8
    requests_per_minute: float | None = None
    attempts: int = 5
    timeout: float = 60.0
    backoff: float = 1.0

    def __post_init__(self) -> None:
        refuse_secrets({"api_key_env": self.api_key_env, "base_url": self.base_url}, self.group)
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise VlgroundError(
                f"{self.group}.base_url={self.base_url}: expected http:// or https://"
            )
        for name in ("concurrency", "requests_per_minute", "attempts", "timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise VlgroundError(f"{self.group}.{name}={value}: expected a positive number")
        if not self.backoff >= 0:
            raise VlgroundError(f"{self.group}.backoff={self.backoff}: expected 0 or more")

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Connection"]:
        """Open a session.

        Raises:
            VlgroundError: If the key is missing.
        """
        key = self._key()
        headers = {"Content-Type": "application/json", "User-Agent": "vlground"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        async with ClientSession(
            connector=TCPConnector(limit=0),
            headers=headers,
            timeout=ClientTimeout(total=self.timeout),
            trust_env=True,  # proxies of the cluster
        ) as session:
            yield Connection(self, session, key)

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        option = f"{self.group}.api_key_env={self.api_key_env}"
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise VlgroundError(f"{option}: this environment variable is not set")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise VlgroundError(f"{option}: holds characters that no key has")
        return key


class Connection:
    """A session with an endpoint, inside an event loop.

    Attributes:
        calls: Requests that were sent, repeated ones included.
    """

    def __init__(self, endpoint: Endpoint, session: ClientSession, key: str | None) -> None:
        self.calls = 0
        self._endpoint, self._session = endpoint, session
        self._key = key if key and len(key) >= _SHORTEST_KEY else None
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._places = asyncio.Semaphore(endpoint.concurrency)
        self._jitter = random.Random()
        self._next = self._pause = 0.0

    async def post(self, body: bytes) -> dict[str, Any]:
        """Ask until there is an answer, or it makes no sense to go on.

        Args:
            body: JSON.

        Returns:
            What the endpoint answered, with at least one choice.

        Raises:
            Unanswered: If there is none.
            VlgroundError: If no other request would be answered either: the key is wrong, the
                account is empty.
        """
        async with self._places:
            for attempt in range(1, self._endpoint.attempts + 1):
                await self._turn()
                try:
                    return await self._attempt(body)
                except Unanswered as failure:
                    wait = failure.after or 0.0
                    if not failure.again or wait > _LONGEST_WAIT:
                        raise
                    if attempt == self._endpoint.attempts:
                        raise
                    own = self._endpoint.backoff * 2 ** (attempt - 1)
                    # All wait when one is told to: the others would be told the same.
                    self._pause = max(self._pause, time.monotonic() + wait)
                    await asyncio.sleep(own * self._jitter.uniform(0.5, 1.0))
        raise AssertionError("attempts is positive")

    async def _turn(self) -> None:
        """Wait for the pace, and for the end of a pause."""
        start = max(time.monotonic(), self._next)
        if self._endpoint.requests_per_minute is not None:
            self._next = start + 60.0 / self._endpoint.requests_per_minute
        while (wait := max(start, self._pause) - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def _attempt(self, body: bytes) -> dict[str, Any]:
        self.calls += 1
        try:
            # A redirect is not followed: the key would go where nobody has sent it.
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                after = _seconds(response.headers.get("Retry-After"))
                text = await response.text(errors="replace")
        except TimeoutError:
            raise Unanswered("time-out", again=True) from None
        except (ClientError, OSError) as error:
            told = _without(f"{type(error).__name__}: {error}", self._key)
            raise Unanswered("connection", told, again=True) from None
        return self._read(response.status, text, after)

    def _read(self, status: int, text: str, after: float | None) -> dict[str, Any]:
        try:
            found = _without(json.loads(text), self._key)
        except (ValueError, RecursionError):
            found = None
        whole = found if isinstance(found, dict) else {}
        problem = whole.get("error")
        if status == 200 and not problem:
            choices = whole.get("choices")
            if isinstance(choices, list) and choices and isinstance(choices[0], dict):
                return whole
            raise Unanswered("no chat completion", _line(_without(text, self._key)))
        code, message = _told(problem, _without(text, self._key))
        if status == 200 and code.isdecimal():  # some put the status inside
            status = int(code)
        self._stop_if_useless(status, code)
        if code == "content_filter":
            raise Unanswered("content filter", message, refused=True)
        reason = str(status) if status != 200 else "error in the answer"
        raise Unanswered(reason, message, again=status in _PASSING, after=after)

    def _stop_if_useless(self, status: int, code: str) -> None:
        name = self._endpoint.api_key_env
        option = f"{self._endpoint.group}.api_key_env={name or 'null'}"
        if status == 401:  # the endpoint's own words often hold a part of the key
            told = "wants a key" if name is None else "does not accept this key"
            raise VlgroundError(f"{option}: the endpoint {told} (401)")
        if status == 402 or code in _OUT_OF_MONEY:
            told = f"the account is out of money ({status}); start again later to go on"
            raise VlgroundError(f"{option}: {told}")


def _told(problem: object, text: str) -> tuple[str, str]:
    """Code and message of an error, as far as there are any."""
    if isinstance(problem, Mapping):
        code = str(problem.get("code") or problem.get("type") or "")
        return code, _line(str(problem.get("message") or ""))
    return "", _line(problem if isinstance(problem, str) else text)


def _without(value: Any, key: str | None) -> Any:  # noqa: ANN401 - any JSON
    """A value with the key taken out of every text in it, names of fields included."""
    if key is None:
        return value
    if isinstance(value, str):
        return value.replace(key, "[key]")
    if isinstance(value, list):
        return [_without(one, key) for one in value]
    if isinstance(value, dict):
        return {_without(name, key): _without(one, key) for name, one in value.items()}
    return value


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"


def _seconds(value: str | None) -> float | None:
    """Of a Retry-After: seconds, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
