"""W&B, read back: from the files of offline runs, and from what a server on the loopback got."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from PIL import Image

from tests import cli
from tests.cli import command, results, vlground
from tests.explanations import EVIL, make_explanation
from tests.wandb_file import OfflineRun
from tests.wandb_server import KEY, PERSON, Bucket, WandbServer, serving
from vlground import judged
from vlground.push import Options, Stored
from vlground.tracking import flat_scores, samples

# Two CAMs; `nowhere` is a layer that the model lacks, so those cells fail.
CELLS = ("experiment=photos", "model=efficientnet_lite0", "cam=gradcam,layercam", "limit=4")
LAYERS = "cam.layer=nowhere,null"
LABELS = ("tags=[ablation,smoke]", "notes=first try")
# What a server that fails would otherwise cost: minutes of retries.
HASTE = {
    "WANDB_INIT_TIMEOUT": "20",
    "WANDB__GRAPHQL_RETRY_MAX": "1",
    "WANDB__GRAPHQL_RETRY_WAIT_MIN_SECONDS": "0.05",
    "WANDB__GRAPHQL_RETRY_WAIT_MAX_SECONDS": "0.1",
    "WANDB__FILE_STREAM_RETRY_MAX": "1",
    "WANDB__FILE_STREAM_RETRY_WAIT_MIN_SECONDS": "0.05",
    "WANDB__FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "0.1",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "1",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MIN_SECONDS": "0.05",
    "WANDB__FILE_TRANSFER_RETRY_WAIT_MAX_SECONDS": "0.1",
}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No login and no settings of the person who runs the tests; where W&B would put its data."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        places = {"NETRC": "netrc", "WANDB_CONFIG_DIR": "config", "XDG_DATA_HOME": "data"}
        for name, place in places.items():
            patch.setitem(cli.ENVIRONMENT, name, str(folder / place))
        for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY"):
            patch.delitem(cli.ENVIRONMENT, name, raising=False)
        for name, value in HASTE.items():
            patch.setitem(cli.ENVIRONMENT, name, value)
        yield folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells of an experiment and two that fail, offline although there is a key."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cli.ENVIRONMENT, "WANDB_API_KEY", KEY)
        vlground("-m", *CELLS, *LABELS, LAYERS, cwd=folder, code=1)
    return folder


@pytest.fixture
def copy(swept: Path, tmp_path: Path) -> Path:
    """A copy of both runs that a test may push."""
    shutil.copytree(swept / "runs", tmp_path / "runs", symlinks=True)
    return tmp_path


@pytest.fixture
def single(copy: Path) -> Path:
    """A copy of one run."""
    (other,) = {path.parent for path in copy.glob("runs/grounding/*-layercam-*/results.json")}
    shutil.rmtree(other)
    return copy


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server, and a login there."""
    with serving() as running:
        monkeypatch.delitem(cli.ENVIRONMENT, "WANDB_MODE", raising=False)
        monkeypatch.setitem(cli.ENVIRONMENT, "WANDB_BASE_URL", running.url)
        monkeypatch.setitem(cli.ENVIRONMENT, "WANDB_API_KEY", KEY)
        yield running


def every(folder: Path) -> list[OfflineRun]:
    """All offline runs under a folder."""
    return [OfflineRun(path) for path in sorted(folder.rglob("offline-run-*")) if path.is_dir()]


def offline(folder: Path) -> dict[str, OfflineRun]:
    """CAM -> the W&B run of the cell that has results."""
    done = {json.loads(p.read_text())["fingerprint"] for p in folder.rglob("results.json")}
    runs = [run for run in every(folder) if run.config["fingerprint"] in done]
    named = {run.config["cam"]: run for run in runs}
    assert len(named) == len(runs), "one W&B run a cell"
    return named


def push(*arguments: str, cwd: Path, code: int = 0) -> list[str]:
    """Lines of `vlground-push`."""
    return command("vlground.push", *arguments, cwd=cwd, code=code).splitlines()


def test_every_cell_is_a_run_of_its_own(swept: Path) -> None:
    runs = offline(swept)
    assert set(runs) == {"gradcam", "layercam"}
    assert len({run.run.run_id for run in every(swept)}) == len(every(swept)) == 4
    for cam, run in runs.items():
        assert run.exit_code == 0
        assert run.run.display_name == f"efficientnet_lite0 · {cam} · photos"
        assert run.run.run_group == "photos"
        assert run.run.job_type == "grounding"
        assert run.run.project == "vlground"
        assert list(run.run.tags) == ["ablation", "smoke"]
        assert run.run.notes == "first try"


def test_the_config_has_the_choices_and_the_whole_tree(swept: Path) -> None:
    runs = offline(swept)
    for result in results(swept / "runs"):
        cam = result["choices"]["cam"]
        config = runs[cam].config
        expected = {"model": "efficientnet_lite0", "cam": cam, "dataset": "photos", "mask": "none"}
        expected |= {"task": "grounding", "metric": "q_groundcam", "seed": 0}
        expected |= {"fingerprint": result["fingerprint"], "git": result["git"]["commit"]}
        assert {name: config[name] for name in expected} == expected
        assert config["cfg"]["limit"] == 4
        assert config["cfg"]["metric"]["wdp_normalisation"] == "mass"
        assert not [key for key in keys(config) if "." in key], "W&B reads a dot as nesting"


def keys(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return []
    return [*node, *(key for value in node.values() for key in keys(value))]


def test_the_summary_is_results_json(swept: Path) -> None:
    runs = offline(swept)
    for result in results(swept / "runs"):
        numbers = runs[result["choices"]["cam"]].numbers
        for name, score in result["scores"].items():
            assert numbers.pop(f"grounding/{name}") == score["value"], "to the last digit"
            assert numbers.pop(f"grounding/{name}_n") == score["n"]
        assert numbers.pop("grounding/count/samples") == 4
        assert numbers.pop("grounding/count/scored") == 4
        assert {name.rpartition("/")[0] for name in numbers} == {"grounding/count"}


def test_intervals_and_reasons_are_in_the_summary() -> None:
    result = {
        "task": "t",
        "scores": {"io": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 30}},
        "counts": {"samples": 40, "skipped": {"no text": 3, "unknown": 7}},
    }
    assert flat_scores(result) == {
        "t/io": 0.5,
        "t/io_low": 0.25,
        "t/io_high": 0.75,
        "t/io_n": 30,
        "t/count/samples": 40,
        "t/count/skipped": 10,
    }


def test_only_who_decides_about_texts_has_a_matrix() -> None:
    score = {"value": 0.5, "low": None, "high": None, "n": 3}
    result = {"task": "classification", "scores": {"accuracy": score}, "counts": {}}
    ranks = {"missing": "the model ranks texts but does not decide whether one fits"}
    found = flat_scores({**result, "matrix": ranks})
    assert found == {"classification/accuracy": 0.5, "classification/accuracy_n": 3}
    found = flat_scores({**result, "task": "matching", "matrix": {"matched": {"correct_low": 2}}})
    assert found["matrix/accuracy"] == 0.5
    assert found["matrix/count/matched_correct_low"] == 2


def test_scores_are_a_step_of_the_history(swept: Path) -> None:
    for run in offline(swept).values():
        shown = {
            item.key or item.nested_key[0]: item.value_json
            for step in run.of("history")
            for item in step.item
        }
        scores = {name.removesuffix("_n") for name in run.numbers if name.endswith("_n")}
        assert {name: run.numbers[name] for name in scores} == {
            name: json.loads(shown[name]) for name in scores
        }
        assert not [name for name in shown if "/count/" in name]


def test_the_table_has_the_same_samples_and_columns_in_every_run(swept: Path) -> None:
    tables = [run.table("grounding/samples") for run in offline(swept).values()]
    assert tables[0].columns == tables[1].columns
    assert tables[0].columns[:3] == ["id", "text", "overlay"]
    assert tables[0].columns[-2:] == ["flag", "skipped"]
    assert {"io_ratio", "pointing_game", "image_id"} < set(tables[0].columns)
    assert tables[0].column("id") == tables[1].column("id")
    assert len(set(tables[0].column("id"))) == 4


def test_the_table_has_the_rows_and_the_overlays(swept: Path, home: Path) -> None:
    for run in offline(swept).values():
        table = run.table("grounding/samples")
        directory = run.folder.parents[1]
        rows = pandas.read_parquet(directory / "rows.parquet").set_index("id")
        for score in ("io_ratio", "iou_soft", "wdp_soft"):
            assert table.column(score) == rows.loc[table.column("id"), score].tolist()
        pictures = table.pictures("overlay")
        written = {path.read_bytes() for path in (directory / "figures").glob("*.jpg")}
        assert {path.read_bytes() for path in pictures} == written
        assert len(written) == 4
        for path in pictures:
            assert max(Image.open(path).size) == 320
            assert path.is_relative_to(run.folder), "W&B's own default is the home folder"
    assert not (home / "data").exists()


def test_the_files_of_a_run_are_an_artifact(swept: Path) -> None:
    for run in offline(swept).values():
        (artifact,) = [one for one in run.of("artifact") if one.type == "results"]
        directory = run.folder.parents[1]
        assert artifact.name == f"results-{run.config['fingerprint']}"
        assert json.loads(artifact.metadata)["parents"] == []
        held = {one.path: Path(one.local_path) for one in artifact.manifest.contents}
        assert set(held) == {"results.json", "rows.parquet", "config.yaml"}
        for name, path in held.items():
            assert path.read_bytes() == (directory / name).read_bytes()
            assert path.is_relative_to(directory), "W&B's own default is the home folder"


def test_what_is_undefined_is_empty_and_no_column_depends_on_the_pictures(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "text": "dog", "skipped": "unknown: dog"},
        {"id": "b", "text": "cat", "io": float("nan"), "flag": "", "boxes": [[0, 1]]},
    ]
    columns, lines = samples(rows, {"b": tmp_path})
    assert columns == ["id", "text", "overlay", "io", "boxes", "flag", "skipped"]
    assert lines == [["b", "cat", tmp_path, None, "[[0, 1]]", "", None]]
    assert samples(rows, {})[0] == columns


def test_no_key_is_anywhere(swept: Path) -> None:
    kept = [path for path in swept.rglob("*") if path.is_file()]
    assert len(kept) > 30
    for secret in (KEY.encode(), base64.b64encode(f"api:{KEY}".encode())):
        assert not [path for path in kept if secret in path.read_bytes()]


def test_a_failing_cell_ends_its_run_and_the_next_begins_its_own(swept: Path) -> None:
    failed = [run for run in every(swept) if run.config["cfg"]["cam"]["layer"] == "nowhere"]
    assert len(failed) == 2
    assert [run.exit_code for run in failed] == [1, 1]
    assert not any(run.numbers or run.of("artifact") for run in failed)


def test_a_push_makes_the_run_that_a_live_one_would_have_been(
    copy: Path, server: WandbServer
) -> None:
    lines = push(cwd=copy)
    assert [line.split()[0] for line in lines] == ["created", "created"]
    live = offline(copy)
    assert len(server.buckets) == 2
    for (project, identifier), bucket in server.buckets.items():
        like = live[bucket.config["cam"]]
        assert bucket.fields["displayName"] == like.run.display_name
        assert (project, identifier) == ("vlground", like.run.run_id), "the id of the offline run"
        assert bucket.fields["groupName"] == "photos"
        assert bucket.fields["jobType"] == "grounding"
        assert bucket.fields["notes"] == "first try"
        assert bucket.fields["tags"] == ["ablation", "smoke"]
        assert bucket.config == without_empty(like.config)
        assert numbers(bucket) == like.numbers
        assert bucket.complete
        assert table(server, bucket).data == like.table("grounding/samples").data
        assert table(server, bucket).columns == like.table("grounding/samples").columns
    pictures = {path.read_bytes() for path in copy.rglob("figures/*.jpg")}
    assert len(pictures) > 4
    assert pictures <= set(server.files.values())


def without_empty(node: Any) -> Any:
    """A config as `wandb-core` sends it: options without parameters (`mask: {}`) are not there."""
    if not isinstance(node, dict):
        return node
    return {key: without_empty(value) for key, value in node.items() if value != {}}


def numbers(bucket: Bucket) -> dict[str, float]:
    summary = bucket.summary.items()
    return {k: v for k, v in summary if k.startswith("grounding/") and isinstance(v, int | float)}


def table(server: WandbServer, bucket: Bucket) -> Any:
    from tests.wandb_file import Table

    key = "grounding/samples.table.json"
    held = [one for one in server.artifacts if one.owner == bucket.id and key in one.files]
    content = json.loads(held[-1].files[key])
    return Table(content["columns"], content["data"], {})


def test_pushing_again_updates_and_never_duplicates(single: Path, server: WandbServer) -> None:
    push(cwd=single)
    first = len(server.operations)
    assert [line.split()[0] for line in push(cwd=single)] == ["unchanged"]
    assert "UpsertBucket" not in server.operations[first:]
    assert [line.split()[0] for line in push("again=true", cwd=single)] == ["updated"]

    (path,) = single.rglob("results.json")
    stored = json.loads(path.read_text())
    stored["scores"]["io_ratio"]["value"] = 0.125
    stored["git"]["commit"] = "another"
    path.write_text(json.dumps(stored))
    assert [line.split()[0] for line in push("tags=late", cwd=single)] == ["updated"]
    (bucket,) = server.buckets.values()
    assert bucket.summary["grounding/io_ratio"] == 0.125
    assert bucket.config["git"] == "another"
    assert bucket.fields["tags"] == ["late"]


def test_another_project_or_group_is_another_run(single: Path, server: WandbServer) -> None:
    push(cwd=single)
    (line,) = push("project=paper", "group=table1", "entity=lab", cwd=single)
    assert line.startswith("created")
    assert " lab/paper/" in line
    push("group=table1", cwd=single)
    assert [line.split()[0] for line in push("group=table1", cwd=single)] == ["unchanged"]
    places = [(b.project, b.fields["groupName"]) for b in server.buckets.values()]
    assert places == [("vlground", "photos"), ("paper", "table1"), ("vlground", "table1")]


def test_only_one_experiment(copy: Path, server: WandbServer) -> None:
    assert "no results.json of experiment=other" in push("experiment=other", cwd=copy, code=1)[0]
    (path,) = copy.glob("runs/grounding/*-layercam-*/results.json")
    (path.parent / "experiments.txt").write_text("other\n")  # it found this cell done already
    (line,) = push("experiment=other", cwd=copy)
    assert line.startswith("created")
    (bucket,) = server.buckets.values()
    assert (bucket.fields["groupName"], bucket.config["cam"]) == ("other", "layercam")


def test_a_dry_run_sends_nothing(copy: Path, server: WandbServer) -> None:
    lines = push("dry_run=true", cwd=copy)
    assert [line.split()[:2] for line in lines] == [["would", "send"]] * 2
    assert not server.requests


def test_a_deleted_run_can_be_pushed_with_salt(single: Path, server: WandbServer) -> None:
    server.deleted = {run.run.run_id for run in offline(single).values()}
    line = push(cwd=single, code=1)[0]
    assert line.startswith("failed")
    assert "salt=WORD" in line
    assert [line.split()[0] for line in push("salt=b", cwd=single)] == ["created"]
    assert [line.split()[0] for line in push(cwd=single)] == ["unchanged"], "it is remembered"
    assert len(server.buckets) == 1


@pytest.mark.parametrize(
    ("part", "status"),
    [("UpsertBucket", 500), ("UpsertBucket", 401), ("file_stream", 500), ("CommitArtifact", 500)],
)
def test_what_does_not_arrive_fails_in_one_line(
    part: str, status: int, single: Path, server: WandbServer
) -> None:
    server.statuses[part] = status
    lines = push(cwd=single, code=1)
    assert [line.split()[0] for line in lines] == ["failed", "1"], lines
    assert f"scripted {status}" in lines[0]
    assert '"sent": null' in next(single.rglob("wandb/runs.json")).read_text(), "not remembered"


def test_one_damaged_run_does_not_stop_the_others(copy: Path, server: WandbServer) -> None:
    (path,) = copy.glob("runs/grounding/*-layercam-*/rows.parquet")
    path.write_bytes(b"torn")
    lines = push(cwd=copy, code=1)
    assert [line.split()[0] for line in lines] == ["created", "failed", "1"]


def test_no_login_is_one_line(single: Path, server: WandbServer, monkeypatch: Any) -> None:
    server.statuses["Viewer"] = 401
    (line,) = push(cwd=single, code=1)
    assert line.startswith("W&B: ")
    monkeypatch.delitem(cli.ENVIRONMENT, "WANDB_API_KEY")
    (line,) = push(cwd=single, code=1)
    assert "wandb login" in line


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("grupo=x", "grupo=x: expected one of runs=, experiment="),
        ("photos", "photos: expected one of"),
        ("again=yes", "again=yes: expected true or false"),
        ("runs=nowhere", "runs=nowhere: no such folder"),
    ],
)
def test_what_the_user_can_mend_is_one_line(argument: str, line: str, tmp_path: Path) -> None:
    (output,) = push(argument, cwd=tmp_path, code=1)
    assert line in output


def test_options_are_read() -> None:
    options = Options.parse(["runs=a/b", "tags=x,y", "again=true", "group=a=b"])
    assert (options.runs, options.tags, options.again) == (Path("a/b"), ["x", "y"], True)
    assert (options.group, options.project, options.dry_run) == ("a=b", None, False)


def test_a_live_run_online_and_a_server_that_fails(tmp_path: Path, server: WandbServer) -> None:
    server.room = 1  # for the second run it fails
    output = vlground("-m", "seed=0,1,2", "cam=random", "limit=2", cwd=tmp_path)
    assert output.count("offline from here on") == 1, "the third does not wait for it again"
    assert len(results(tmp_path / "runs")) == 3
    assert [run.exit_code for run in every(tmp_path)] == [0, 0]
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]

    (bucket,) = server.buckets.values()
    stored = [Stored.read(path.parent) for path in tmp_path.rglob("results.json")]
    (live,) = [run for run in stored if run.described.config["seed"] == 0]
    assert bucket.complete
    assert bucket.config == without_empty(live.described.config)
    assert numbers(bucket) == flat_scores(live.results)
    before = table(server, bucket)
    (artifact,) = [one for one in server.artifacts if one.type == "results"]
    assert (artifact.owner, artifact.name[8:]) == (bucket.id, live.results["fingerprint"])
    for name in ("results.json", "rows.parquet", "config.yaml"):
        assert artifact.files[name] == (live.directory / name).read_bytes()

    server.room = None
    lines = push(cwd=tmp_path)
    assert sorted(line.split()[0] for line in lines) == ["created", "created", "updated"]
    (updated,) = [line for line in lines if line.startswith("updated")]
    assert updated.endswith(f" {PERSON}/vlground/{bucket.id}"), "the run that the live one made"
    assert len(server.buckets) == 3
    assert table(server, bucket) == before


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of a classifier and a judge, offline."""
    folder = tmp_path_factory.mktemp("explained")
    cell = ("task=explanation", "model=efficientnet_lite0", "cam=gradcam", "dataset=photos")
    vlground(*cell, "limit=6", *LABELS, cwd=folder)
    return folder


def test_an_explanation_is_there_live(explained: Path) -> None:
    (run,) = every(explained)
    (result,) = results(explained / "runs")
    assert run.run.display_name == "efficientnet_lite0 · gradcam · photos · sigmoid · reference"
    assert run.run.job_type == "explanation"
    for name, score in result["scores"].items():
        assert run.numbers[f"explanation/{name}"] == score["value"]
        assert run.numbers.get(f"explanation/{name}_low") == score["low"]
    assert not [name for name in run.numbers if name == "matrix/accuracy"]
    for name, count in result["matrix"]["judge"].items():
        assert run.numbers[f"matrix/count/judge_{name.replace(' ', '_')}"] == count
    sanity = result["explanation"]["sanity"]
    assert run.summary["explanation/sanity"] == sanity["verdict"]
    for name, score in sanity["means"].items():
        assert run.numbers[f"explanation/sanity/{name}"] == score["value"]
    assert run.charts["matrix/judge"] == "wandb/confusion_matrix/v1"


def test_tables_of_an_explanation(explained: Path) -> None:
    (run,) = every(explained)
    (result,) = results(explained / "runs")
    directory = run.folder.parents[1]
    samples = run.table("explanation/samples")
    rows = pandas.read_parquet(directory / "rows.parquet").set_index("id")
    assert set(samples.columns) == {"id", "overlay", *rows.columns}
    for name in ("label", "predicted", "score", "description", "justification"):
        assert samples.column(name) == rows.loc[samples.column("id"), name].tolist()
    written = {path.read_bytes() for path in (directory / "figures").glob("*.jpg")}
    assert {path.read_bytes() for path in samples.pictures("overlay")} == written
    matrix = run.table("matrix/judge_table")
    assert matrix.columns == list(judged.MATRIX_COLUMNS)
    counts = {f"{one}_{two}": n for one, two, n, *_ in matrix.data}
    assert counts.items() <= result["matrix"]["judge"].items()
    assert [line[3] for line in matrix.data] == [result["scores"][cell]["value"] for cell in counts]
    classes = run.table("explanation/classes")
    assert classes.column("class") == list(result["explanation"]["per_class"])
    (name, *_), place = classes.data[0], classes.columns.index("correct_low")
    assert (
        classes.data[0][place] == (result["explanation"]["per_class"][name]["correct_low"]["value"])
    )


def test_a_pushed_explanation_is_the_live_one(
    explained: Path, tmp_path: Path, server: WandbServer
) -> None:
    shutil.copytree(explained / "runs", tmp_path / "runs", symlinks=True)
    assert [line.split()[0] for line in push(cwd=tmp_path)] == ["created"]
    (live,) = every(tmp_path)
    (bucket,) = server.buckets.values()
    assert bucket.fields["displayName"] == live.run.display_name
    both = [
        {k: v for k, v in summary.items() if isinstance(v, int | float | str) and "/" in k}
        for summary in (bucket.summary, live.summary)
    ]
    assert both[0] == both[1]
    assert {"explanation/sanity", "explanation/usage/calls", "explanation/accuracy"} <= set(both[0])
    files = [body for body in server.files.values() if body.startswith(b'{"columns"')]
    tables = [json.loads(body) for body in files]
    for key in ("explanation/classes", "matrix/judge_table", "explanation/samples"):
        held = live.table(key)
        (sent,) = [table["data"] for table in tables if table["columns"] == held.columns]
        words = [i for i, name in enumerate(held.columns) if name != "overlay"]
        assert [[row[i] for i in words] for row in sent] == [
            [row[i] for i in words] for row in held.data
        ], key
    drawn = {path.read_bytes() for path in tmp_path.rglob("figures/*.jpg")}
    assert drawn <= set(server.files.values())
    assert [line.split()[0] for line in push(cwd=tmp_path)] == ["unchanged"]

    (path,) = tmp_path.rglob("results.json")
    stored = json.loads(path.read_text())
    stored["explanation"]["sanity"]["sentence"] = "unsound: not shown that own > black"
    path.write_text(json.dumps(stored))
    assert [line.split()[0] for line in push(cwd=tmp_path)] == ["updated"], "words count, too"


def test_numbers_and_words_of_a_judge_that_was_asked(tmp_path: Path) -> None:
    folder = make_explanation(tmp_path, answers=("judge-1", EVIL))
    result = json.loads((folder / "results.json").read_text())
    found = flat_scores(result)
    assert found["explanation/accuracy"] == result["scores"]["accuracy"]["value"]
    assert not [name for name in found if name.startswith("matrix/") and "/count/" not in name]
    assert found["explanation/usage/tokens_in"] == 12000
    assert found["explanation/usage/cost"] == 0.25
    assert found["explanation/count/errors"] == 2
    assert found["matrix/count/judge_no_label"] == 1
    assert found["explanation/sanity/black"] == 0
    own = result["explanation"]["sanity"]["differences"]["random"]
    assert found["explanation/sanity/own_minus_random_low"] == own["low"]
    assert judged.words(result) == {
        "explanation/sanity": "sound",
        "explanation/sanity_finding": "sound: own mask above every control",
        "explanation/judge_models": f"{EVIL} (27), judge-1 (27)",
    }
    result["explanation"]["sanity"] = None
    assert judged.words(result)["explanation/sanity"] == "not tested"
    assert judged.words({"task": "grounding"}) == judged.numbers({"task": "grounding"}) == {}
