"""A table with what has to be said of it: one form for console, Markdown, LaTeX and the page."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    r"""One table as text. Nothing in it is markup: each format escapes what it shows.

    Attributes:
        caption: Stands above.
        heads: Of the columns.
        rows: As long as `heads`; in a cell `\n` parts a value from its interval.
        notes: Lines that stand below, the most important first.
        words: How many columns, from the left, hold words; the others hold numbers and are
            aligned to the right.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    words: int = 1

    @property
    def rules(self) -> list[int]:
        """Rows with a rule above: where another data set begins."""
        names = [row[0] if self.heads[0] == "data set" else "" for row in self.rows]
        return [i for i in range(1, len(names)) if names[i] not in ("", names[i - 1])]
