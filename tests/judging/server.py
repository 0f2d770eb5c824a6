"""A loopback server that speaks OpenAI's chat completions, scripted by the object asked about."""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from vlground.contracts import Judge, JudgeRequest, Verdict
from vlground.data.sample import Sample
from vlground.judging.chat import ChatJudge

ENVIRONMENT = "JUDGE_TEST_KEY"
KEY = "sk-loopback-0123456789abcdef"
_OBJECT = re.compile(r'answered "([^"]*)"')


@dataclass(frozen=True)
class Say:
    """One answer of the server.

    Attributes:
        status: Of http.
        body: JSON, or a text as it is.
        headers: Beside the length.
        wait: Seconds before it.
        reset: The connection breaks in place of an answer.
    """

    body: Mapping[str, Any] | str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    reset: bool = False


@dataclass
class Judgement:
    """What is served and what was asked.

    Attributes:
        scripts: Object asked about -> answers in order, the last of them for ever.
        key: That is accepted; None: any, and none.
        wait: Seconds before every answer.
        asked: Objects, in the order of the requests.
        bodies: Of the requests.
        headers: Likewise.
        times: When they came, by the monotonic clock.
        most: In flight at once.
    """

    url: str = ""
    scripts: dict[str, list[Say]] = field(default_factory=dict)
    key: str | None = None
    wait: float = 0.0
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most: int = 0

    def answer(self, body: dict[str, Any], headers: dict[str, str]) -> Say:
        """What to say to a request."""
        words = "".join(part.get("text", "") for part in body["messages"][0]["content"])
        found = _OBJECT.search(words)
        asked = found[1] if found else ""
        self.asked.append(asked)
        self.bodies.append(body)
        self.headers.append(headers)
        self.times.append(time.monotonic())
        if self.key is not None and headers.get("Authorization") != f"Bearer {self.key}":
            return Say(problem(f"no such key: {headers.get('Authorization')}"), 401)
        script = self.scripts.get(asked, [Say(scored(4))])
        return script.pop(0) if len(script) > 1 else script[0]


def completion(content: object, **others: Any) -> dict[str, Any]:
    """A chat completion; `finish_reason`, `refusal`, `logprobs` and `model` as they are named."""
    message = {"role": "assistant", "content": content, "refusal": others.get("refusal")}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": others.get("finish_reason", "stop"),
        "logprobs": others.get("logprobs"),
    }
    usage = {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960}
    return {"model": others.get("model", "judge-1"), "choices": [choice], "usage": usage}


def scored(score: object, **others: Any) -> dict[str, Any]:
    """A chat completion with a score."""
    words = {"description": "a wheel", "justification": "wheels belong to it", "score": score}
    return completion(json.dumps(words), **others)


def problem(message: str, code: object = None) -> dict[str, Any]:
    """An error as endpoints tell it."""
    return {"error": {"message": message, "code": code}}


@contextmanager
def judging() -> Iterator[Judgement]:
    """A server on a free port."""
    state, lock, flight = Judgement(), threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions"
            with lock:
                flight[0] += 1
                state.most = max(state.most, flight[0])
                said = state.answer(body, dict(self.headers))
            time.sleep(state.wait + said.wait)
            with lock:
                flight[0] -= 1
            if said.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            text = said.body if isinstance(said.body, str) else json.dumps(said.body)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

        def handle(self) -> None:
            with suppress(OSError, ValueError):
                super().handle()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def judge_of(server: Judgement, **options: Any) -> ChatJudge:
    """A judge behind the server that loses no time."""
    quick = {"backoff": 0.01, "attempts": 3, "timeout": 5.0, "prompt": "short"}
    return ChatJudge(
        **{"label": "loop", "base_url": server.url, "model": "judge-1"} | quick | options
    )


def asking(objects: Sequence[str], side: int = 8) -> list[JudgeRequest]:
    """One request an object, each with a picture of its own."""
    found = []
    for number, name in enumerate(objects):
        image = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        sample = Sample(str(number), str(number), image, name)
        found.append(JudgeRequest(f"{number}/{name}", {"object": name}, (image,), sample=sample))
    return found


def verdicts(judge: Judge, objects: Sequence[str]) -> list[Verdict]:
    """In the order of the objects."""
    requests = asking(objects)
    found = {request.key: verdict for request, verdict in judge.judge(requests)}
    assert len(found) == len(requests), "every request is answered once"
    return [found[request.key] for request in requests]
