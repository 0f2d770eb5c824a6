"""What the loopback server of `tests.wandb_server` gives back: runs, artifacts, sweeps."""

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.wandb_server import Artifact, Bucket, WandbServer

_WHEN = "2026-01-01T00:00:00Z"
_LAST_PAGE = {"endCursor": None, "hasNextPage": False}


class Reading:
    """Answers to the queries of `wandb.Api`, `run.use_artifact`, `wandb sweep` and `wandb agent`.

    Args:
        server: What arrived there.
    """

    def __init__(self, server: "WandbServer") -> None:
        self.server = server

    @property
    def answers(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Name of an operation -> what answers it."""
        return {
            "Runs": self.runs,
            "RunOutputArtifacts": self.logged,
            "ArtifactMembershipByName": self.membership,
            "UseArtifact": self.use,
            "FetchArtifactManifest": self.manifest,
            "GetArtifactMembershipFileUrls": self.files,
            "UpsertSweep": self.sweep,
            "SweepWithRuns": self.sweep_of_agent,
            "CreateAgent": lambda given: {"createAgent": {"agent": {"id": "QWdlbnQ="}}},
            "Heartbeat": self.heartbeat,
        }

    def runs(self, given: dict[str, Any]) -> Any:
        """All runs of a project, on one page."""
        found = [one for one in self.server.buckets.values() if one.project == given["project"]]
        if not found:
            return {"project": None}
        edges = [{"node": _run(one), "cursor": one.id} for one in found]
        runs = {"edges": edges, "pageInfo": _LAST_PAGE}
        facts = {"internalId": "1", "runCount": len(found), "readOnly": False}
        return {"project": {**facts, "runs": runs}}

    def logged(self, given: dict[str, Any]) -> Any:
        """Artifacts that a run has logged."""
        found = [one for one in self.server.artifacts if one.owner == given["run"]]
        edges = [{"node": _artifact(one)} for one in found]
        nodes = {"totalCount": len(found), "pageInfo": _LAST_PAGE, "edges": edges}
        return {"project": {"run": {"artifacts": nodes}}}

    def membership(self, given: dict[str, Any]) -> Any:
        """An artifact by `name:alias`; only the newest one is asked for."""
        name, _, alias = given["name"].partition(":")
        assert alias == "latest"
        found = [one for one in self.server.artifacts if one.place == (given["project"], name)]
        if not found:
            return {"project": {"artifactCollectionMembership": None}}
        node = _artifact(found[-1])
        facts = {
            "__typename": "ArtifactCollectionMembership",
            "id": found[-1].id,
            "createdAt": _WHEN,
            "aliases": [],
            "artifactCollection": {**node["artifactSequence"], "__typename": "ArtifactSequence"},
        }
        version = {"versionIndex": found[-1].version, "artifact": node}
        return {"project": {"artifactCollectionMembership": {**facts, **version}}}

    def use(self, given: dict[str, Any]) -> Any:
        """Remember which run uses an artifact."""
        (artifact,) = [one for one in self.server.artifacts if one.id == given["artifactID"]]
        artifact.users.append(given["runName"])
        return {"useArtifact": {"artifact": {"id": artifact.id}}}

    def manifest(self, given: dict[str, Any]) -> Any:
        """Where the manifest of an artifact lies."""
        url = f"{self.server.url}/storage/manifest/{given['id']}/wandb_manifest.json"
        return {"artifact": {"currentManifest": {"file": {"directUrl": url}}}}

    def files(self, given: dict[str, Any]) -> Any:
        """Where the files of an artifact lie."""
        place, version = (given["project"], given["collection"]), int(given["alias"][1:])
        found = [one for one in self.server.artifacts if one.place == place]
        folder = f"{self.server.url}/storage/artifact/{found[version].id}"
        names = [path for path in self.server.files if f"/artifact/{found[version].id}/" in path]
        edges = [
            {"node": {"__typename": "File", "name": name, "directUrl": f"{folder}/{stored}"}}
            for stored in (path.split("/", 4)[4] for path in names)
            for name in [stored.partition("/")[2]]
        ]
        files = {"pageInfo": {"__typename": "PageInfo", **_LAST_PAGE}, "edges": edges}
        known = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
        return {"project": {"artifactCollection": known}}

    def sweep(self, given: dict[str, Any]) -> Any:
        """Open a sweep; its cells are all settings of its values in order."""
        self.server.sweep = yaml.safe_load(given["config"])
        project = {"id": "UHJvamVjdA==", "name": given["projectName"], "entity": _entity()}
        sweep = {"name": "sweep1", "project": project}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def sweep_of_agent(self, given: dict[str, Any]) -> Any:
        """The sweep as its agent asks for it."""
        facts = {"id": "U3dlZXA=", "name": "sweep1", "state": "RUNNING", "description": None}
        sweep = {**facts, "config": yaml.safe_dump(self.server.sweep), "runs": {"edges": []}}
        return {"project": {"sweep": sweep}}

    def heartbeat(self, given: dict[str, Any]) -> Any:
        """The next cell once the agent is idle; when there is none left, that it may go."""
        commands: list[dict[str, Any]] = []
        if not json.loads(given["runState"]):
            commands.append({"type": "exit"})
            if self.server.cells:
                number = len(self.server.cells)
                args = {name: {"value": one} for name, one in self.server.cells.pop(0).items()}
                run = {"run_id": f"cell{number}", "program": self.server.sweep["program"]}
                commands = [{"type": "run", "id": str(number), **run, "args": args}]
        answer = {"agent": {"id": "QWdlbnQ="}, "commands": json.dumps(commands)}
        return {"agentHeartbeat": answer}


def _run(bucket: "Bucket") -> dict[str, Any]:
    return {
        "projectId": "1",
        "id": bucket.key,
        "tags": bucket.fields.get("tags") or [],
        "name": bucket.id,
        "displayName": bucket.fields.get("displayName"),
        "sweepName": bucket.fields.get("sweep"),
        "state": "finished" if bucket.complete else "crashed",
        "group": bucket.fields.get("groupName"),
        "jobType": bucket.fields.get("jobType"),
        "commit": None,
        "readOnly": False,
        "createdAt": _WHEN,
        "heartbeatAt": _WHEN,
        "description": "",
        "notes": "",
        "historyLineCount": len(bucket.history),
        "user": {"name": "Ann", "username": "ann"},
    }


def _artifact(one: "Artifact") -> dict[str, Any]:
    project = {"id": "UHJvamVjdA==", "internalId": "1", "name": one.place[0], "entity": _entity()}
    sequence = {"__typename": "ArtifactSequence", "name": one.name, "project": project}
    return {
        "__typename": "Artifact",
        "id": one.id,
        "artifactSequence": sequence,
        "versionIndex": one.version,
        "artifactType": {"name": one.type},
        "description": None,
        "metadata": one.given.get("metadata"),
        "ttlDurationSeconds": -1,
        "ttlIsInherited": False,
        "tags": [],
        "historyStep": None,
        "state": "COMMITTED",
        "size": sum(len(content) for content in one.files.values()),
        "digest": base64.b64encode(one.id.encode()).decode(),
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": "c",
        "fileCount": len(one.files),
        "createdAt": f"{_WHEN[:-3]}{one.version:02d}Z",
        "updatedAt": None,
        "aliases": [],
    }


def _entity() -> dict[str, str]:
    return {"id": "RW50aXR5", "name": "ann"}
