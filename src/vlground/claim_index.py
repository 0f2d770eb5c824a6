"""The index of the papers' claims, `experiments/README.md`, as data: claim → command → status."""

import re
from dataclasses import dataclass
from pathlib import Path

from vlground.published import FOLDERS

MEASURED = ("holds here", "does not", "not decided", "answered here")  # each names where it stands
STATUSES = (
    *MEASURED,
    *("needs checkpoints", "needs judge and people", "no number published", "open"),
)
_COMMAND = re.compile(r"`(vlground[^`]*)`")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


@dataclass(frozen=True)
class Claim:
    """One row.

    Attributes:
        paper: The heading above it.
        words: What is claimed or asked, without markup.
        commands: What measures it, as one types it.
        status: One of `STATUSES`.
        links: What it points to, relative to the index: published numbers, and where it is told.
    """

    paper: str
    words: str
    commands: tuple[str, ...]
    status: str
    links: tuple[str, ...]

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments that the commands run or report on."""
        words = [word for command in self.commands for word in command.split()]
        found = [word.removeprefix("experiment=") for word in words if "experiment=" in word]
        return list(dict.fromkeys(found))


def index_file() -> Path | None:
    """The index; None where an installation has none."""
    files = (folder / "README.md" for folder in FOLDERS)
    return next((file for file in files if file.is_file()), None)


def read_claims(file: Path) -> list[Claim]:
    """Every row of the index.

    Args:
        file: Markdown; below each heading of the second level one table whose columns are claim,
            command, status and where.

    Raises:
        ValueError: A row has another number of cells.
    """
    found, paper = [], ""
    for line in file.read_text("utf-8").splitlines():
        paper = line.removeprefix("## ") if line.startswith("## ") else paper
        if paper and line.startswith("| ") and not line.startswith("| claim |"):
            claim, commands, status, where = (cell.strip() for cell in line.split("|")[1:-1])
            words = re.sub(r" *\(\[csv\]\([^)]*\)\)", "", claim)
            links = tuple(target for _, target in _LINK.findall(f"{claim} {where}"))
            found.append(Claim(paper, words, tuple(_COMMAND.findall(commands)), status, links))
    return found
