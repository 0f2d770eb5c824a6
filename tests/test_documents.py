"""Commands in the documents compose, and their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException

from vlground.run import CONF

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("README.md", "docs/*.md", "experiments/*.md", "experiments/*/*.md")
    for path in ROOT.glob(pattern)
)
_FLAGS = ("-m", "--multirun")


def commands(text: str) -> list[list[str]]:
    """Words of each `vlground …` line in blocks of bash, without what only a reader can fill in."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if not line.startswith("vlground "):
                continue
            words = shlex.split(line, comments=True)[1:]
            if any(word.startswith("--") and word not in _FLAGS for word in words):
                continue  # help, and folders of one's own
            given = [word for word in words if "…" not in word and "$" not in word]
            found.append([word for word in given if word not in _FLAGS])
    return found


def first_cell(words: list[str]) -> list[str]:
    """The overrides of a sweep's first cell."""
    cell = []
    for word, parsed in zip(words, OverridesParser.create().parse_overrides(words), strict=True):
        if parsed.is_sweep_override():
            cell.append(f"{word.split('=')[0]}={next(iter(parsed.sweep_string_iterator()))}")
        else:
            cell.append(word)
    return cell


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_commands_compose(document: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for words in commands((ROOT / document).read_text("utf-8")):
            compose("run", first_cell(words), return_hydra_config=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_option_of_a_swept_group_exists(document: Path) -> None:
    for words in commands((ROOT / document).read_text("utf-8")):
        for word in words:
            group, _, options = word.partition("=")
            if (CONF / group).is_dir():
                for option in options.split(","):
                    assert (CONF / group / f"{option}.yaml").is_file(), word


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / document).parent / name if name else ROOT / document
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), flags=re.MULTILINE)
            assert anchor in {slug(head) for head in heads}, target


def slug(head: str) -> str:
    """A heading's anchor, as GitHub makes it.

    >>> slug("The tables of `make run`")
    'the-tables-of-make-run'
    """
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")


def test_a_wrong_command_is_found() -> None:
    words = commands("```bash\nvlground -m cam=gradcam,uniform \\\n    metric.tie=any  # two\n```")
    assert words == [["cam=gradcam,uniform", "metric.tie=any"]]
    assert first_cell(words[0]) == ["cam=gradcam", "metric.tie=any"]
    wrong = commands("```bash\nvlground metric.foo=1\n```")[0]
    with initialize_config_dir(str(CONF), version_base="1.3"):  # noqa: SIM117
        with pytest.raises(ConfigCompositionException, match="foo"):
            compose("run", first_cell(wrong))
