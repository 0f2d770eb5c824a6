"""All tables and notes of a report in one format: on a console, in Markdown, in LaTeX."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from vlground.labels import MATRIX_COLUMNS, NOTES
from vlground.latex import block_table, scores_table
from vlground.latex import comparison_table as latex_comparison
from vlground.published import Comparison
from vlground.reporting.beside import beside_published
from vlground.reporting.block import Block
from vlground.reporting.explanation import explanation_blocks
from vlground.reporting.notes import notes, outside_matrix
from vlground.reporting.tables import APART, Results, table, tables

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 1000  # characters of a table


def grounding_blocks(results: Sequence[Results]) -> list[Block]:
    """The tables of grounding runs and of models that decide."""
    found = []
    for name, runs, columns in tables(results):
        heads, rows = table(runs, "\n", columns)
        words = heads.index("decisions" if columns is MATRIX_COLUMNS else "n")
        found.append(Block(name, heads, rows, notes(runs, columns), words))
    return found


def blocks(
    results: Sequence[Results], compared: Sequence[Comparison] = (), extra: Sequence[Block] = ()
) -> list[Block]:
    """Every table of a report, in its order.

    Args:
        results: The runs, in the tables' order.
        compared: Experiments beside what was published.
        extra: Further tables, which stand last.
    """
    own = [*grounding_blocks(results), *map(beside_published, compared)]
    return [*own, *explanation_blocks(results), *extra]


def markdown(
    results: Sequence[Results], compared: Sequence[Comparison] = (), extra: Sequence[Block] = ()
) -> str:
    """Tables and notes in Markdown; arguments as in `blocks`."""
    from tabulate import tabulate

    parts = []
    for block in blocks(results, compared, extra):
        heads, *rows = ([_plain(cell) for cell in row] for row in [block.heads, *block.rows])
        body = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
        parts += [f"**{_plain(block.caption)}**", body, *map(_plain, block.notes)]
    return "\n\n".join([*parts, *last_lines(results)])


def latex(
    results: Sequence[Results], compared: Sequence[Comparison] = (), extra: Sequence[Block] = ()
) -> str:
    """Tables in LaTeX, captions and notes as comments; arguments as in `blocks`."""
    bodies = []
    for _, runs, columns in tables(results):
        bodies.append(scores_table(runs, *table(runs, "\n", columns), columns))
    for comparison in compared:
        block = beside_published(comparison)
        bodies.append(latex_comparison(comparison, block.heads, block.rows))
    bodies += map(block_table, [*explanation_blocks(results), *extra])
    parts = ["% needs booktabs and amssymb; ±: half the width of the 95 % interval"]
    for block, body in zip(blocks(results, compared, extra), bodies, strict=True):
        parts += [_comment(block.caption), body, *map(_comment, block.notes)]
    return "\n".join([*parts, *map(_comment, last_lines(results))])


def show(
    results: Sequence[Results], compared: Sequence[Comparison] = (), extra: Sequence[Block] = ()
) -> None:
    """Print tables and notes; arguments as in `blocks`."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    for block in blocks(results, compared, extra):
        _print(console, block)
    for line in last_lines(results):
        console.print(line, style="italic", markup=False, highlight=False)


def _print(console: "Console", block: Block) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = Text(block.caption, style="italic")
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, head in enumerate(block.heads):
        # No interval and no name is cut in two.
        cells = [head, *(row[place] for row in block.rows)]
        scores = place >= block.words
        width = max(map(len, " ".join(cells).split() if scores else cells))
        justify: Literal["left", "right"] = "right" if scores else "left"
        grid.add_column(Text(head), justify=justify, no_wrap=not scores, min_width=width)
    for place, row in enumerate(block.rows):
        # A rule before each data set after the first.
        if place in block.rules:
            grid.add_section()
        # Text has no markup: what a judge calls itself is shown as it is.
        grid.add_row(*map(Text, row))
    # rich would crop a table that is too wide; a terminal wraps its lines, and no score is lost.
    # Its own minimum may crop by one character, which would change a number.
    needed = console.measure(grid, options=console.options.update(width=_WIDEST))
    width = console.width if needed.minimum < console.width else needed.maximum
    Console(width=width).print(grid)
    for line in block.notes:
        console.print(line, style="italic", markup=False, highlight=False)
    console.print()


def last_lines(results: Sequence[Results]) -> list[str]:
    """What is said at the end: without maps held against boxes nothing."""
    maps = any(result.get("task") not in APART for result in results)
    return [*outside_matrix(results), *([NOTES] if maps else [])]


def _plain(text: str) -> str:
    r"""Text on one line that Markdown shows as it is, without markup, links or pictures.

    >>> _plain("a|b\n![x](y) <img>")
    'a\\|b !\\[x](y) &lt;img>'
    """
    escaped = {"\\": r"\\", "|": r"\|", "[": r"\[", "`": r"\`", "<": "&lt;"}
    return " ".join("".join(escaped.get(sign, sign) for sign in text).split())


def _comment(text: str) -> str:
    """One line that LaTeX does not read, whatever is in it."""
    return f"% {' '.join(text.split())}"
