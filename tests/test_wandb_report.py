"""Artifacts and lineage in W&B, and the report of what is fetched from there."""

import json
import shutil
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pandas
import pytest
import wandb

from tests.explanations import make_explanation
from tests.wandb_server import KEY, Artifact, WandbServer, serving
from vlground.errors import VlgroundError
from vlground.lineage import in_order, parents
from vlground.page.reading import read
from vlground.push import Options, push
from vlground.report import collect, main
from vlground.reporting.from_wandb import fetched

SCORE = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 30}
HASTE = {"GRAPHQL_RETRY_MAX": "1", "GRAPHQL_RETRY_WAIT_MAX_SECONDS": "0.1"}


def make(runs: Path, task: str, digit: str, config: str = "", **more: Any) -> Path:
    """A run directory as small as one can be."""
    fingerprint = digit * 16
    folder = runs / task / f"mini-drawn-{fingerprint[:8]}"
    folder.mkdir(parents=True)
    rows = pandas.DataFrame({"id": ["a", "b"], "image_id": ["1", "2"], "text": ["x", digit]})
    rows.to_parquet(folder / "rows.parquet", index=False)
    results = {
        "task": task,
        "choices": {"task": task, "model": "mini", "dataset": "drawn", "metric": "pope"},
        "experiment": "drawn",
        "fingerprint": fingerprint,
        "identity": {},
        "stage": f"{task}-1",
        "scores": {"words": SCORE},
        "matrix": {},
        "counts": {"samples": 2, "scored": 2, "skipped": {}, "flagged": {}},
        "git": None,
        **more,
    }
    (folder / "results.json").write_text(json.dumps(results))
    written = f"tags: []\nnotes: ''\nseed: 0\nlogger: {{}}\n{config}"
    (folder / "config.yaml").write_text(written)
    return folder


@pytest.fixture
def chain(tmp_path: Path) -> dict[str, Path]:
    """Runs that build on one another, each by another way of saying so."""
    runs, stage = tmp_path / "runs", {"stage": "candidates-1"}
    made = {
        "benchmark": make(
            runs,
            "benchmark",
            "5",
            # as it was called where the run was computed
            "model: {pretrained: /elsewhere/runs/finetuning/mini-drawn-44444444/model}\n",
        ),
        "finetuning": make(
            runs, "finetuning", "4", f"task: {{data: {{file: ['run:{'3' * 16}']}}}}"
        ),
        "sampling": make(runs, "sampling", "1", **stage),
        "scoring": make(runs, "scoring", "2", **stage),
        "rejection_sampling": make(runs, "rejection_sampling", "3", **stage),
    }
    steps = [{"name": "pope", "run": "benchmark/mini-drawn-55555555"}]
    block = {"rejection_finetuning": {"steps": steps}}
    made["whole"] = make(runs, "rejection_finetuning", "6", **block)
    make(runs, "sampling", "7", stage="candidates-2")
    make(runs, "debug", "3")
    return made


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """A server, a login there, and nothing of the person who runs the tests."""
    home = tmp_path / "home"
    places = {"NETRC": "netrc", "WANDB_CONFIG_DIR": "config", "WANDB_CACHE_DIR": "cache"}
    for name, place in {**places, "XDG_DATA_HOME": "data"}.items():
        monkeypatch.setenv(name, str(home / place))
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in HASTE.items():
        monkeypatch.setenv(f"WANDB__{name}", value)
    with serving() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_SILENT", "true")
        wandb.teardown()  # what other tests of this process have set up
        yield running
        wandb.teardown()


def artifacts(server: WandbServer) -> dict[str, Artifact]:
    """Fingerprint's first digit -> the newest results of this run."""
    return {one.name[8]: one for one in server.artifacts if one.type == "results"}


def test_a_run_names_those_that_it_builds_on(chain: dict[str, Path]) -> None:
    def found(name: str) -> list[str]:
        return [path.parent.name for path in parents(chain[name])]

    assert found("sampling") == []
    assert found("scoring") == ["sampling"], "of the same stage, not of another one"
    assert found("rejection_sampling") == ["sampling", "scoring"]
    assert found("finetuning") == ["rejection_sampling"], "not the partial run"
    assert found("benchmark") == ["finetuning"]
    assert found("whole") == ["benchmark"]
    names = [path.parent.name for path in in_order([*chain.values()])]
    order = ["sampling", "scoring", "rejection_sampling", "finetuning", "benchmark"]
    assert [name for name in names if name in order] == order
    assert names[-1] == "rejection_finetuning"


def test_the_chain_is_a_chain_of_artifacts(
    chain: dict[str, Path], server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = chain["sampling"].parents[1]
    assert push(Options(runs=runs)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["created"] * 7
    assert not [line for line in lines if "lacks" in line]
    held = artifacts(server)
    assert len(held) == 7
    for folder in chain.values():
        artifact = held[folder.name[-1]]
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert artifact.files == files, "to the last byte"
        before = [path.name[-1] for path in parents(folder)]
        assert artifact.metadata["parents"] == [digit * 16 for digit in before]
        used = [digit for digit, one in held.items() if artifact.owner in one.users]
        assert sorted(used) == sorted(before)

    asked = len(server.operations)
    assert push(Options(runs=runs)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["unchanged"] * 7
    assert not {"UseArtifact", "CreateArtifact"} & {*server.operations[asked:]}


def test_what_is_not_there_is_linked_later(
    chain: dict[str, Path], server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, alone = chain["sampling"].parents[1], chain["benchmark"]
    assert push(Options(runs=alone, project="paper")) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("(builds on 1 that paper lacks)")
    assert artifacts(server)["5"].metadata["parents"] == ["4" * 16], "said all the same"
    assert push(Options(runs=chain["finetuning"], project="paper")) == 0
    capsys.readouterr()
    assert push(Options(runs=runs, project="paper")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["created"] * 5 + ["updated"] * 2
    assert not [line for line in lines if "lacks" in line]
    held = artifacts(server)
    assert held["5"].owner in held["4"].users
    kept = [path for path in runs.rglob("*") if path.is_file()]
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]


def test_the_report_reads_what_is_fetched(
    chain: dict[str, Path], server: WandbServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = chain["sampling"].parents[1]
    shutil.rmtree(runs / "debug")
    push(Options(runs=runs))
    folder = fetched("ann/vlground", runs)
    assert folder == runs / "wandb" / "ann_vlground"
    assert collect(folder) == collect(runs)
    ours, theirs = ({one.path: one for one in read(place)[0]} for place in (runs, folder))
    assert ours.keys() == theirs.keys()
    for path, one in theirs.items():
        assert not one.problem
        assert one.rows is not None
        assert one.rows.equals(ours[path].rows)
        assert parents(one.folder) == [
            folder / p.relative_to(runs) for p in parents(ours[path].folder)
        ]
    capsys.readouterr()
    push(Options(runs=runs, dry_run=True))
    assert len(capsys.readouterr().out.splitlines()) == len(ours), "nothing is sent back"


def test_the_command_prints_the_same_tables(
    tmp_path: Path,
    server: WandbServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_explanation(tmp_path / "runs", n=8)
    make_explanation(tmp_path / "runs", n=8, alpha=15.0)
    push(Options(runs=tmp_path / "runs"))
    printed = []
    for extra in ((), ("--wandb", "ann/vlground")):
        capsys.readouterr()
        command = ["vlground-report", str(tmp_path / "runs"), "--format=markdown", "--no-page"]
        monkeypatch.setattr("sys.argv", [*command, *extra])
        main()
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "judge score" in printed[0]


def test_runs_of_renamed_groups_are_found_by_them(
    chain: dict[str, Path], server: WandbServer, tmp_path: Path
) -> None:
    push(Options(runs=chain["benchmark"], group="october"))
    push(Options(runs=chain["benchmark"], group="november"))
    folder = fetched("vlground", tmp_path / "got")
    (path,) = folder.rglob("experiments.txt")
    assert path.read_text().split() == ["november", "october"]
    assert collect(folder, {"experiment": "october"}) == collect(folder, {"experiment": "drawn"})


def test_what_a_run_lacks_is_said(
    chain: dict[str, Path], server: WandbServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sampling", "scoring", "benchmark", "finetuning", "rejection_sampling"):
        push(Options(runs=chain[name]))
    held = artifacts(server)
    held["1"].given["artifactTypeName"] = "dataset"
    replace(server, held["2"], json.dumps({"choices": {}, "scores": {}}))
    replace(server, held["3"], json.dumps({**known(held["3"]), "fingerprint": "../../../../x"}))
    replace(server, held["4"], json.dumps({**known(held["4"]), "task": "../../x"}))
    capsys.readouterr()
    folder = fetched("ann/vlground", tmp_path / "got")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("): ")[1] for line in lines] == [
        "no artifact of type results (finished)",
        "results.json: no counts",
        "results.json: not of vlground",
        "results.json: not of vlground",
    ]
    assert [path.parent.name for path in folder.rglob("results.json")] == ["mini-drawn-55555555"]
    assert not [path for path in tmp_path.rglob("x") if path.is_dir()]

    held["5"].given["artifactTypeName"] = "dataset"
    with pytest.raises(
        VlgroundError, match="none of 5 runs has results; `vlground-push again=true`"
    ):
        fetched("ann/vlground", tmp_path / "got")


def known(artifact: Artifact) -> dict[str, Any]:
    return dict(json.loads(artifact.files["results.json"]))


def replace(server: WandbServer, artifact: Artifact, text: str) -> None:
    """Put another results.json into an artifact, with its checksum in the manifest."""
    (path,) = [p for p in server.files if f"/{artifact.id}/" in p and p.endswith("results.json")]
    server.files[path] = text.encode()
    manifest = f"/storage/manifest/{artifact.id}/wandb_manifest.json"
    entries = json.loads(server.files[manifest])
    entries["contents"]["results.json"]["digest"] = b64encode(md5(text.encode()).digest()).decode()
    server.files[manifest] = json.dumps(entries).encode()


def test_what_cannot_be_fetched_is_one_line(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line() -> str:
        with pytest.raises(VlgroundError) as caught:
            fetched("ann/none", tmp_path)
        assert "\n" not in str(caught.value)
        assert KEY not in str(caught.value)
        return str(caught.value)

    assert line() == "--wandb=ann/none: Could not find project none"
    server.statuses["Runs"] = 500
    assert "scripted 500" in line()
    server.statuses["Viewer"] = 401
    wandb.teardown()
    assert line().endswith("; is there a network, and are WANDB_BASE_URL and the key right?")
    monkeypatch.delenv("WANDB_API_KEY")
    assert line().endswith("no W&B login: run `wandb login`, or set WANDB_API_KEY")
