"""The front door: the help page, completion in a shell, and mistakes in the command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from tests.cli import ENVIRONMENT, vlground
from vlground.command import help_page, mistake
from vlground.completion import completions
from vlground.options import CONF, about, defaults, groups, settings
from vlground.run import CONF as RUN_CONF

MINIATURES = [name for name in groups()["model"] if name.startswith("mini_")]


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys; from vlground.command import main; sys.argv = ['vlground', '--help']; main()\n"
        "heavy = {'hydra', 'omegaconf', 'yaml', 'numpy', 'torch', 'logging'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert process.stdout.decode().rstrip("\n") == help_page([], 80)


def test_the_help_page_names_every_group_option_and_setting() -> None:
    page = help_page([])
    words = page.split()
    for group, options in groups().items():
        assert re.search(rf"^  {group}( \[\w+\])?$", page, re.MULTILINE)
        assert set(options) <= set(words)
    for setting in settings():
        assert f"\n  {setting.name}={setting.value}" in page
    assert "model [efficientnet_lite0]" in page
    assert all(len(line) <= 100 for line in page.splitlines())


def test_the_help_page_says_what_hydra_composes() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("run", return_hydra_config=True)
    HydraConfig.instance().set_config(whole)
    choices = OmegaConf.to_container(whole.hydra.runtime.choices)
    for group, option in defaults().items():
        assert str(choices[group] or "null") == option, group
    top = {one.name.split(".")[0] for one in settings()}
    assert top == {str(key) for key in whole} - set(groups()) - {"hydra"}
    for setting in settings():
        assert OmegaConf.create(f"x: {setting.value}").x == OmegaConf.select(whole, setting.name)
    assert RUN_CONF == CONF


def test_a_group_is_explained() -> None:
    page = help_page(["--help", "cam"])
    assert page.startswith("cam=\n  attention_gradcam ")
    for option in groups()["cam"]:
        assert f"\n  {option}" in page
        assert about("cam", option).split()[0] in page
    assert about("task", "grounding").startswith("Q-GroundCAM: does")
    assert about("experiment", "photos").startswith("Real ImageNet weights")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("vlground model=mini_", [f"model={name}" for name in MINIATURES]),
        ("vlground -m limit=3 model=mini_blip,mini_ll", ["model=mini_blip,mini_llava"]),
        ("vlground mask=sig", ["mask=sigmoid"]),
        ("vlground modle=", None),
        ("vlground metric.tie=", None),
        ("vlground hydra/launcher=", None),
        ("vlground +model=", None),
        ("vlground --config-dir my_conf model=", None),
        ("vlground over", ["overwrite="]),
        ("vlground jud", ["judge.", "judge="]),
        ("vlground seed=1 detector=none jud", ["judge.", "judge="]),
    ],
)
def test_what_is_completed_at_once(line: str, found: list[str] | None) -> None:
    assert completions(line) == found


def test_a_new_word_may_be_any_group_or_setting() -> None:
    assert {"model=", "model.", "limit=", "sweep.dry_run="} <= set(
        completions("vlground -m ") or ()
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PATH with the entry point `vlground` of this checkout, as pip would write it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "vlground"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom vlground.command import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_bash_completes(path: str) -> None:
    code = """
        eval "$(vlground -sc install=bash)"
        complete -p vlground
        for COMP_LINE in "vlground -m model=mini_" "vlground metric=q_groundcam metric.peak_d"; do
            read -ra COMP_WORDS <<< "$COMP_LINE"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_POINT=${#COMP_LINE}
            hydra_bash_completion
            echo "${COMPREPLY[@]}"
        done
    """
    process = subprocess.run(
        ["bash", "--norc", "-c", code],
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    rule, at_once, by_hydra = process.stdout.splitlines()
    assert rule.endswith("-F hydra_bash_completion vlground")
    assert at_once.split() == [f"model={name}" for name in MINIATURES]
    assert by_hydra == "metric.peak_distance="


def raised(*overrides: str) -> Exception:
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(Exception) as caught,  # noqa: PT011 - what it says is what is tested
    ):
        compose("run", list(overrides))
    return caught.value


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "cam=foo",
            "cam=foo: no such option; cam has attention_gradcam, ",
        ),
        ("foo=1", "foo: no such option; the configuration has batch_size, "),
        ("metric.foo=1", "metric.foo: no such option; metric has box_edge, "),
        ("mask.alpha=1", "mask.alpha: no such option; "),
        ("sweep.dry=1", "sweep.dry: no such option; sweep has dry_run"),
        ("experiment=photo", "experiment=photo: no such option; perhaps photos"),
        ("hydra/launcher=foo", "hydra/launcher=foo: no such option; hydra/launcher has basic"),
        ("modle=gradcam", "modle: no such option; perhaps model? the configuration has "),
        ("seed=1=2", "seed=1=2: "),
        ("+seed=1", "Could not append to config. An item is already at 'seed'."),
    ],
)
def test_a_mistake_names_what_to_change_and_what_exists(override: str, told: str) -> None:
    line = mistake(raised(override))
    assert line is not None
    assert line.startswith(told)
    assert "struct" not in line
    if not override.startswith("+"):
        assert "\n" not in line


def test_an_option_of_a_swept_group_can_be_an_axis_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["vlground", "-m", "task=sampling,scoring", "task.n=2"])
    told = mistake(raised("task.n=2"))
    assert told is not None
    assert told.endswith("task is swept: perhaps 'task.n=choice(VALUE)'")
    monkeypatch.setattr("sys.argv", ["vlground", "task.n=2"])
    assert "swept" not in (mistake(raised("task.n=2")) or "")


def test_a_fault_of_ours_is_no_mistake_of_the_users() -> None:
    assert mistake(RuntimeError("x")) is None


def test_a_mistake_on_the_command_line_is_one_line(tmp_path: Path) -> None:
    output = vlground("metric.foo=1", cwd=tmp_path, code=1)
    assert output.startswith("metric.foo: no such option; metric has ")
    assert len(output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_hydras_own_words_are_still_hers(tmp_path: Path) -> None:
    output = vlground("--cfg", "job", "--package", "mask", "mask=sigmoid", cwd=tmp_path)
    assert output.startswith(
        "# @package mask\n_target_: vlground.masks.soft.Sigmoid\nalpha: 25.0\n"
    )
