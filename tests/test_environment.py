"""`environment.yml`, `constraints.txt` and `pyproject.toml` say the same."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
MAKEFILE = (ROOT / "Makefile").read_text()
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
PINNED = {canonicalize_name(one.name): one for one in map(Requirement, LINES)}


def pip_part() -> list[str]:
    *_, pip = ENVIRONMENT["dependencies"]
    assert list(pip) == ["pip"]
    return pip["pip"]


def installed_extras() -> list[str]:
    (editable,) = [line for line in pip_part() if line.startswith("-e ")]
    found = re.fullmatch(r"-e \.\[([\w,]+)\]", editable)
    assert found, editable
    return found[1].split(",")


def test_conda_reads_what_it_knows() -> None:
    assert set(ENVIRONMENT) == {"name", "channels", "dependencies"}
    assert re.fullmatch(r"[a-z][a-z0-9_-]*", ENVIRONMENT["name"])
    assert ENVIRONMENT["name"] == PROJECT["name"]
    assert ENVIRONMENT["channels"] == ["conda-forge"]
    *conda, _ = ENVIRONMENT["dependencies"]
    for line in conda:
        assert re.fullmatch(r"[a-z][a-z0-9_.-]*(?:[=<>]=?[0-9.]+)?", line), line
    assert "pip" in conda, "or conda warns that it adds it"


def test_its_python_is_one_that_the_project_takes_and_make_sets_up() -> None:
    python, *_ = ENVIRONMENT["dependencies"]
    version = python.removeprefix("python=")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert f"PYTHON ?= python{version}\n" in MAKEFILE


def test_pip_installs_what_make_installs() -> None:
    constraint, editable = pip_part()
    assert constraint == "--constraint constraints.txt"
    assert set(installed_extras()) <= set(EXTRAS)
    assert f"install --quiet -c constraints.txt -e '{editable.removeprefix('-e ')}'" in MAKEFILE


def test_constraints_are_exact_sorted_and_have_no_local_version() -> None:
    for pin in PINNED.values():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version
        assert not pin.extras
        assert not pin.marker
    assert len(PINNED) == len(LINES), "none twice"
    assert sorted(LINES, key=str.lower) == LINES


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    names = set(EXTRAS) - {"groundingdino"}  # which CI does not install
    lines = [*PROJECT["dependencies"], *(line for name in names for line in EXTRAS[name])]
    for requirement in map(Requirement, lines):
        version = pinned(requirement.name)
        assert version is not None, requirement
        assert requirement.specifier.contains(version), requirement


def test_what_they_need_in_turn_is_pinned_too() -> None:
    """Or two installations of one constraints file would differ."""
    waiting = [Requirement(line) for line in PROJECT["dependencies"]]
    waiting += [Requirement(line) for name in installed_extras() for line in EXTRAS[name]]
    seen: set[str] = set()
    loose: list[str] = []
    while waiting:
        one = waiting.pop()
        key = f"{canonicalize_name(one.name)}[{','.join(sorted(one.extras))}]"
        if key in seen:
            continue
        seen.add(key)
        version = pinned(one.name)
        if version is None or not one.specifier.contains(version):
            loose.append(str(one))
            continue
        waiting += needed_by(one)
    assert not loose


def pinned(name: str) -> str | None:
    found = PINNED.get(canonicalize_name(name))
    return None if found is None else next(iter(found.specifier)).version


def needed_by(one: Requirement) -> list[Requirement]:
    """What an installed package needs on this machine; of torch not its build's own."""
    try:
        lines = requires(one.name) or []
    except PackageNotFoundError:
        return []  # of an optional extra that is not installed
    found = []
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        asked = marker is None or any(marker.evaluate({"extra": e}) for e in ("", *one.extras))
        built = canonicalize_name(one.name) == "torch" and re.match(
            r"nvidia|triton|cuda|setuptools", requirement.name
        )
        if asked and not built:
            found.append(requirement)
    return found
