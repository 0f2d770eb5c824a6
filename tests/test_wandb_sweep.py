"""W&B sweeps that drive Hydra: their files, and an agent with a server on the loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from wandb import teardown
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from tests.cli import ENVIRONMENT
from tests.explanations import make_explanation
from tests.wandb_server import KEY, WandbServer, serving
from vlground.errors import VlgroundError
from vlground.run import CONF
from vlground.tasks.chained import compose_cell
from vlground.tracking import again, flat_scores, wandb_logger

CELL = {"seed": 1, "metric.wdp_unit": "diagonal"}
FILES = sorted((Path(__file__).parents[1] / "experiments").glob("wandb_sweep*.yaml"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def cells(parameters: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first and the last of what a sweep tries."""
    ends = [
        [one["values"][0], one["values"][-1]]
        if "values" in one
        else [one.get(end, one.get("value")) for end in ("min", "max")]
        for one in parameters.values()
    ]
    for chosen in zip(*ends, strict=True):
        yield dict(zip(parameters, chosen, strict=True))


def called(command: list[str], cell: dict[str, Any]) -> list[str]:
    """What the agent calls for a cell; its macros are W&B's own."""
    macros = create_sweep_command_args({"args": {k: {"value": v} for k, v in cell.items()}})
    macros["env"] = ["/usr/bin/env"]
    words = [macros[one[2:-1]] if one.startswith("${") else [one] for one in command]
    return [word for several in words for word in several]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_hydra_takes_every_cell_as_one_run(path: Path, tmp_path: Path) -> None:
    sweep = read(path)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for cell in cells(sweep["parameters"]):
            env, program, *overrides = called(sweep["command"], cell)
            assert (env, program) == ("/usr/bin/env", sweep["program"])
            node: Any = compose("run", overrides, return_hydra_config=True)
            assert node.hydra.mode.name == "RUN", "else its runs would share one of W&B"
            for name, value in cell.items():
                group, option = name.split(".")
                assert node[group][option] == value
            assert node.logger._target_ == "vlground.tracking.wandb_logger"
            task = node.hydra.runtime.choices.task
    assert sweep["metric"]["name"].startswith(f"{task}/")
    folder = make_explanation(tmp_path)
    results = json.loads((folder / "results.json").read_text())
    assert sweep["metric"]["name"] in flat_scores(results), "the summary has it"


def test_there_is_a_grid_and_a_search() -> None:
    assert {read(path)["method"] for path in FILES} == {"grid", "bayes"}


def test_a_sweep_of_hydra_is_no_cell_of_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    with pytest.raises(VlgroundError, match=r"hydra\.mode=MULTIRUN: .*add hydra\.mode=RUN"):
        wandb_logger(compose_cell(["hydra.mode=MULTIRUN"]), "vlground")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """A server, a login there, and nothing of the person who runs the tests."""
    with serving() as running:
        places = {"NETRC": "netrc", "WANDB_CONFIG_DIR": "config", "XDG_DATA_HOME": "data"}
        for name, place in places.items():
            monkeypatch.setitem(ENVIRONMENT, name, str(tmp_path / "home" / place))
        for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
            monkeypatch.delitem(ENVIRONMENT, name, raising=False)
        monkeypatch.setitem(ENVIRONMENT, "WANDB_BASE_URL", running.url)
        monkeypatch.setitem(ENVIRONMENT, "WANDB_API_KEY", KEY)
        beside = Path(sys.executable).parent  # where `vlground` is
        monkeypatch.setitem(ENVIRONMENT, "PATH", f"{beside}{os.pathsep}{os.environ['PATH']}")
        yield running


def wandb(*arguments: str, cwd: Path) -> str:
    """What the command `wandb` says."""
    process = subprocess.run(
        [sys.executable, "-m", "wandb", *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return output


def of_agent(tmp_path: Path, server: WandbServer, given: list[dict[str, Any]]) -> dict[str, Any]:
    """What the one run of an agent's cells has computed."""
    shipped = read(FILES[0])
    small = ["cam=random", "limit=2", "logger.project=another"]
    command = [small if one.startswith("experiment=") else [one] for one in shipped["command"]]
    sweep = {**shipped, "command": [word for words in command for word in words]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    assert "wandb agent ann/vlground/sweep1" in wandb("sweep", "sweep.yaml", cwd=tmp_path)
    server.cells = [*given]
    wandb("agent", "ann/vlground/sweep1", cwd=tmp_path)
    (path,) = tmp_path.glob("runs/*/*/results.json")
    (record,) = json.loads((path.parent / "wandb" / "runs.json").read_text())
    place = (record["project"], record["id"])
    assert place == ("vlground", f"cell{len(given)}"), "the sweep's project, not ours"
    results: dict[str, Any] = json.loads(path.read_text())
    return results


def check(server: WandbServer, names: list[str], results: dict[str, Any]) -> None:
    """Each of the runs that the sweep knows has all results."""
    assert list(server.buckets) == [("vlground", name) for name in names]
    for bucket in server.buckets.values():
        assert bucket.fields["sweep"] == "sweep1"
        assert bucket.complete
        assert {name: bucket.config[name] for name in CELL} == CELL
        assert bucket.config["fingerprint"] == results["fingerprint"]
        assert bucket.summary.items() >= flat_scores(results).items()
    logged = [one for one in server.artifacts if one.type == "results"]
    assert [one.owner for one in logged] == names
    assert all(one.files == logged[0].files for one in logged)


def test_a_cell_is_one_run_also_where_it_was_done_before(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = of_agent(tmp_path, server, [CELL])
    check(server, ["cell1"], results)

    for name in ("NETRC", "WANDB_CONFIG_DIR", "XDG_DATA_HOME", "WANDB_BASE_URL", "WANDB_API_KEY"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    (settings,) = tmp_path.glob("wandb/sweep-sweep1/config-cell1.yaml")  # the agent's
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(settings))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "cell9")
    monkeypatch.setenv("WANDB_PROJECT", "vlground")
    monkeypatch.setenv("WANDB_SILENT", "true")
    told = [f"{name}={value}" for name, value in CELL.items()]
    done = compose_cell(["cam=random", "limit=2", f"runs={tmp_path}/runs", *told])
    done.identify()
    teardown()  # what other tests of this process have set up
    again(done)
    teardown()
    check(server, ["cell1", "cell9"], results)


@pytest.mark.slow
def test_the_command_reports_a_cell_that_was_done_before(
    tmp_path: Path, server: WandbServer
) -> None:
    results = of_agent(tmp_path, server, [CELL, CELL])
    check(server, ["cell2", "cell1"], results)
