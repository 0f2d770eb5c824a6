"""Groups and options as the files that they are: nothing is imported or composed to list them."""

import re
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).parent
# The wheel carries conf/ inside the package; in a checkout it lies two folders up.
CONF = next(path for path in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if path.is_dir())

_DEFAULT = re.compile(r"  - (?P<group>\w+): (?P<option>\w+)")
_LINE = re.compile(r"(?P<indent> *)(?P<name>\w+):(?: (?P<value>[^#]*))?(?:# (?P<what>.*))?")


@dataclass(frozen=True)
class Setting:
    """An option outside the groups, as `conf/run.yaml` has it.

    Attributes:
        name: Full name, such as `limit` or `sweep.dry_run`.
        value: Its default, as it is written.
        what: What it is for; "" if that is not said.
    """

    name: str
    value: str
    what: str


def groups(folder: Path = CONF) -> dict[str, list[str]]:
    """Group -> its options, by name.

    Args:
        folder: With a folder a group. Of groups in groups only those of `hydra/` are meant to be
            chosen; others hold what options share.
    """
    found: dict[str, list[str]] = {}
    for path in sorted([*folder.glob("*/*.yaml"), *folder.glob("hydra/*/*.yaml")]):
        found.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path.stem)
    return found


def defaults() -> dict[str, str]:
    """Group -> the option that is taken if none is given; `null` where that is none."""
    found = (_DEFAULT.match(line) for line in _root())
    return {match["group"]: match["option"] for match in found if match}


def settings() -> list[Setting]:
    """Options of every run outside the groups."""
    found, above = [], ""
    for line in _root():
        match = _LINE.fullmatch(line)
        if match is None or match["name"] in ("defaults", "hydra"):
            above = ""
        elif not match["value"] and not match["indent"]:
            above = f"{match['name']}."
        elif above or not match["indent"]:
            above = above if match["indent"] else ""
            value = (match["value"] or "").strip()
            found.append(Setting(above + match["name"], value, (match["what"] or "").strip()))
    return found


def about(group: str, option: str) -> str:
    """What an option is, by the first line of its file that says so."""
    lines = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    told = (line[2:] for line in lines if line.startswith("# ") and "@package" not in line)
    return next(told, "")


def _root() -> list[str]:
    return (CONF / "run.yaml").read_text(encoding="utf-8").splitlines()
