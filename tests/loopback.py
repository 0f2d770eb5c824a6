"""An http server on the loopback that plays a file host and a hub, with scripted failures."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@dataclass
class Loopback:
    """What is served, what was asked, what goes wrong.

    Attributes:
        files: Path -> content.
        repositories: Repository -> file -> content.
        breaks: Path -> after how many bytes the next answers end; one number an answer.
        redirects: Path -> where it has moved to.
        types: Path -> Content-Type.
        gated: Repositories whose files want a token.
        commit: Of main of every repository.
        ranges: Whether a transfer can be resumed.
        requests: Method, path and `Range` of every request, in order.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    commit: str = COMMIT
    ranges: bool = True
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def content(self, path: str) -> bytes | None:
        """What lies at a path, the hub's included."""
        for name, files in self.repositories.items():
            if path.startswith(f"/api/models/{name}/tree/"):
                entries = [_entry(file, body) for file, body in files.items()]
                return json.dumps(entries).encode()
            if path.startswith(f"/api/models/{name}"):
                siblings = [{"rfilename": file} for file in files]
                known = {"id": name, "modelId": name, "sha": self.commit, "siblings": siblings}
                return json.dumps(known).encode()
            for revision in (self.commit, "main"):
                if path.startswith(f"/{name}/resolve/{revision}/"):
                    return files.get(path.removeprefix(f"/{name}/resolve/{revision}/"))
        return self.files.get(path)


@contextmanager
def serving() -> Iterator[Loopback]:
    """A server on a free port."""
    state = Loopback()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, asked = self.path.split("?")[0], self.headers.get("Range")
            state.requests.append((self.command, path, asked))
            if path in state.redirects:
                self.answer(302, b"", {"Location": state.redirects[path]})
                return
            if any(path.startswith(f"/{name}/resolve/") for name in state.gated):
                self.answer(401, b"", {"X-Error-Code": "GatedRepo"})
                return
            body = state.content(path)
            if body is None:
                code = "RepoNotFound" if path.startswith("/api/") else "EntryNotFound"
                self.answer(404, b"", {"X-Error-Code": code})
                return
            etag = f'"{hashlib.sha1(body).hexdigest()}"'
            headers = {"ETag": etag, "X-Repo-Commit": state.commit}
            if path in state.types:
                headers["Content-Type"] = state.types[path]
            start = 0
            if asked and state.ranges and self.headers.get("If-Range", etag) == etag:
                start = int(asked.removeprefix("bytes=").split("-")[0])
                if start >= len(body):
                    self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                    return
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.answer(206 if start else 200, body[start:], headers)

        do_HEAD = do_GET

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cuts = state.breaks.get(self.path, [])
            if self.command == "GET":
                cut = cuts.pop(0) if cuts else len(body)
                self.wfile.write(body[:cut])
                self.close_connection = cut < len(body)

        def log_message(self, *_: object) -> None:
            return

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def be_the_hub(server: Loopback, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process take a server for the hub, and a folder for its cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def _entry(file: str, body: bytes) -> dict[str, object]:
    return {"type": "file", "path": file, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
