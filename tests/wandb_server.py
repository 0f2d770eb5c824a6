"""A W&B server on the loopback: as much of it as `wandb` 0.31 asks for, and it remembers.

It answers the GraphQL operations of one upload (viewer, resume status, `UpsertBucket`, files,
artifacts), takes the file stream and the uploads, and keeps what arrived, which it gives back to
`wandb.Api`. It opens a sweep and hands its agent one cell after the other. A test scripts its
failures with `statuses` and `deleted`.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.wandb_reading import Reading

KEY = "0123456789abcdef0123456789abcdef01234567"
PERSON = "ann"


@dataclass
class Bucket:
    """A run as the server knows it."""

    project: str
    id: str
    fields: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    complete: bool = False

    @cached_property
    def key(self) -> str:
        return base64.b64encode(f"{self.project}/{self.id}".encode()).decode()

    @property
    def config(self) -> dict[str, Any]:
        stored = json.loads(self.fields.get("config") or "{}")
        return {name: node["value"] for name, node in stored.items() if name != "_wandb"}


@dataclass
class Artifact:
    """A version of an artifact as the server knows it.

    Attributes:
        id: Of this version.
        place: Project and name.
        version: From 0 on.
        given: What `CreateArtifact` said: run, type, metadata, digest.
        files: Path inside it -> bytes.
        users: Ids of the runs that name it as one they use.
    """

    id: str
    place: tuple[str, str]
    version: int
    given: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.place[1]

    @property
    def owner(self) -> str:
        """Id of the run that logged it."""
        return str(self.given["runName"])

    @property
    def type(self) -> str:
        return str(self.given["artifactTypeName"])

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(json.loads(self.given.get("metadata") or "{}"))


@dataclass
class WandbServer:
    """What arrived, and what is to be answered.

    Attributes:
        buckets: (project, run id) -> run.
        files: Path of an upload -> bytes.
        artifacts: All versions of all artifacts, in order.
        requests: Method, path and body of every request, in order.
        statuses: Part of a path, or name of an operation -> HTTP status that answers it.
        deleted: Run ids that were deleted, so that they cannot be used again.
        room: With so many runs, another one is answered with status 500.
        sweep: The W&B sweep that was opened.
        cells: Option -> value, of each cell that its agent is still to be given.
    """

    url: str = ""
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    room: int | None = None
    sweep: dict[str, Any] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def operations(self) -> list[str]:
        """Names of the GraphQL operations that arrived."""
        bodies = [json.loads(body) for _, path, body in self.requests if path == "/graphql"]
        return [operation(body) for body in bodies]

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for one request."""
        self.requests.append((method, path, body))
        query = json.loads(body) if path == "/graphql" else {}
        name = operation(query) if query else ""
        for part, status in self.statuses.items():
            if part == name or (not query and part in path):
                return status, {"errors": [{"message": f"scripted {status}"}]}
        if query:
            return self.graphql(name, query.get("variables") or {})
        if path.endswith("/file_stream"):
            self.stream(path, json.loads(body))
            return 200, {}
        if method == "PUT":
            self.files[path] = body
            _, _, kind, owner, name = path.split("/", 4)
            if kind == "artifact":
                (artifact,) = [one for one in self.artifacts if one.id == owner]
                artifact.files[name.partition("/")[2]] = body
        return 200, self.files.get(path, {}) if method == "GET" else {}

    def graphql(self, name: str, given: dict[str, Any]) -> tuple[int, Any]:
        """Answer one operation; an unknown one gets an error, so that a test shows it."""
        answers = {
            "Viewer": self.viewer,
            "GetDefaultEntity": self.viewer,
            "RunResumeStatus": self.resume,
            "UpsertBucket": self.upsert,
            "CreateRunFiles": self.run_files,
            "ArtifactType": self.artifact_type,
            "CreateArtifact": self.create_artifact,
            "CreateArtifactManifest": self.manifest,
            "CreateArtifactFiles": self.artifact_files,
            "CommitArtifact": self.commit,
            "ServerFeaturesQuery": lambda given: {"serverInfo": {"features": []}},
            **Reading(self).answers,
        }
        if name not in answers:
            return 400, {"errors": [{"message": f"unknown operation {name}"}]}
        if name == "UpsertBucket" and given.get("name") in self.deleted:
            message = f"run {given['name']} was previously created and deleted; try a new run name"
            return 409, {"errors": [{"message": message}]}
        new = (given.get("project"), given.get("name")) not in self.buckets
        if name == "UpsertBucket" and new and self.room == len(self.buckets):
            return 500, {"errors": [{"message": "scripted 500"}]}
        with self.lock:
            return 200, {"data": answers[name](given)}

    def viewer(self, given: dict[str, Any]) -> Any:
        teams = {"edges": [{"node": {"name": PERSON}}]}
        person = {"id": "VXNlcg==", "entity": PERSON, "username": PERSON, "flags": "{}"}
        return {"viewer": {**person, "email": "ann@example.org", "teams": teams}}

    def resume(self, given: dict[str, Any]) -> Any:
        bucket = self.buckets.get((given["project"], given["name"]))
        model = {"id": "UHJvamVjdA==", "name": given["project"], "entity": _entity()}
        return {"model": {**model, "bucket": None if bucket is None else _resumed(bucket)}}

    def upsert(self, given: dict[str, Any]) -> Any:
        place = given["project"], given["name"]
        inserted = place not in self.buckets
        bucket = self.buckets.setdefault(place, Bucket(*place))
        bucket.fields.update({k: v for k, v in given.items() if v is not None})
        project = {"id": "UHJvamVjdA==", "name": bucket.project, "entity": _entity()}
        known = {"id": bucket.key, "name": bucket.id, "displayName": given.get("displayName")}
        rest = {"description": "", "config": bucket.fields["config"], "sweepName": None}
        lines = {"historyLineCount": len(bucket.history)}
        bucket_node = {**known, **rest, **lines, "project": project}
        return {"upsertBucket": {"bucket": bucket_node, "inserted": inserted}}

    def run_files(self, given: dict[str, Any]) -> Any:
        folder = f"{self.url}/storage/{given['project']}/{given['run']}"
        files = [{"name": name, "uploadUrl": f"{folder}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def artifact_type(self, given: dict[str, Any]) -> Any:
        return {"project": {"artifact": None}}

    def create_artifact(self, given: dict[str, Any]) -> Any:
        told = given["input"]
        place = told["projectName"], told["artifactCollectionName"]
        version = sum(one.place == place for one in self.artifacts)
        self.artifacts.append(Artifact(f"artifact{len(self.artifacts)}", place, version, told))
        sequence = {"latestArtifact": None}
        node = {"id": self.artifacts[-1].id, "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": node}}

    def manifest(self, given: dict[str, Any]) -> Any:
        owner = given["input"]["artifactID"] if "input" in given else given["artifactID"]
        url = f"{self.url}/storage/manifest/{owner}/wandb_manifest.json"
        file = {"id": "RmlsZQ==", "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "TWFu", "file": file}}}

    def artifact_files(self, given: dict[str, Any]) -> Any:
        edges = []
        for file in given["input"]["artifactFiles"]:
            owner, stored = file["artifactID"], f"{file['md5'].replace('/', '_')}/{file['name']}"
            node = {
                "storagePath": stored,
                "uploadUrl": f"{self.url}/storage/artifact/{owner}/{stored}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": owner},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def commit(self, given: dict[str, Any]) -> Any:
        return {"commitArtifact": {"artifact": {"id": "QXJ0", "digest": "d"}}}

    def stream(self, path: str, body: dict[str, Any]) -> None:
        """Keep history and summary of a run."""
        _, _, _, project, name, _ = path.split("/")
        bucket = self.buckets[project, name]
        with self.lock:
            for file, chunk in (body.get("files") or {}).items():
                lines = [json.loads(line) for line in chunk["content"] if file.endswith("l")]
                if file == "wandb-history.jsonl":
                    bucket.history += lines
                if file == "wandb-summary.json":
                    bucket.summary = json.loads(chunk["content"][-1])
            if body.get("complete"):
                bucket.complete = body["exitcode"] == 0


def operation(query: dict[str, Any]) -> str:
    """Name of a GraphQL operation; `wandb.Api` leaves `operationName` empty."""
    words = query["query"].replace("#graphql", " ").replace("(", " ").replace("{", " ").split()
    return str(query.get("operationName") or words[1])


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server on a free port."""
    state = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = state.answer(self.command, self.path, body)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = reply

        def log_message(self, *_: object) -> None:
            return

        def handle(self) -> None:
            with suppress(ConnectionError):  # wandb-core drops its connections when it ends
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _entity() -> dict[str, str]:
    return {"id": "RW50aXR5", "name": PERSON}


def _resumed(bucket: Bucket) -> dict[str, Any]:
    tail = [json.dumps(bucket.history[-1])] if bucket.history else []
    return {
        "id": bucket.key,
        "name": bucket.id,
        "summaryMetrics": json.dumps(bucket.summary),
        "displayName": bucket.fields.get("displayName"),
        "logLineCount": 0,
        "historyLineCount": len(bucket.history),
        "eventsLineCount": 0,
        "historyTail": json.dumps(tail),
        "eventsTail": "[]",
        "config": bucket.fields["config"],
        "tags": bucket.fields.get("tags") or [],
        "notes": bucket.fields.get("notes"),
        "wandbConfig": json.dumps({"t": 1}),
    }
