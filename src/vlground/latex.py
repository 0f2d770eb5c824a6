"""Tables in LaTeX (booktabs, amssymb): value ± half its interval, the best of a block in bold."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.labels import BASELINES
from vlground.published import Comparison, Row
from vlground.reporting.block import Block

Score = Mapping[str, Any] | None

_SPECIAL = {
    **{sign: rf"\{sign}" for sign in "_%&#${}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "≥": r"$\geq$", "×": r"$\times$"},
    **{"✓": r"$\checkmark$", "✗": r"$\times$", "–": "--", "·": r"$\cdot$", "−": "$-$"},
}


def escape(text: str) -> str:
    r"""Text as LaTeX shows it.

    >>> escape("IO_ratio ↑")
    'IO\\_ratio $\\uparrow$'
    """
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def scores_table(
    results: Sequence[Mapping[str, Any]],
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: Mapping[str, str],
) -> str:
    """A table of scores, ranked by data set; baselines are not ranked.

    Args:
        results: The runs.
        heads: As `vlground.reporting.tables.table` gives them, with the rows.
        rows: Of the same runs; their last cells are rewritten.
        columns: Score -> head.
    """
    names = [name for name, head in columns.items() if head in heads]
    ranked = [run["choices"].get("cam") not in BASELINES for run in results]
    blocks = [str(run["choices"].get("dataset")) for run in results]
    values = [[run["scores"].get(name) for name in names] for run in results]
    bold = _best(values, blocks, ranked, [columns[name] for name in names])
    body = []
    for place, row in enumerate(rows):
        left = [escape(cell) for cell in row[: len(row) - len(names)]]
        body.append([*left, *map(_cell, values[place], bold[place])])
    return tabular(heads, body, len(heads) - len(names) - 1, _starts(blocks))


def comparison_table(
    comparison: Comparison, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Ours beside published, each ranked by data set.

    Args:
        comparison: With one row at least.
        heads: As `vlground.reporting.beside.comparison_table` gives them, with the rows.
        rows: The last cells of ours and published are rewritten.
    """
    names = comparison.scores
    blocks = [row.dataset for row in comparison.rows]
    columns = list(heads[len(heads) - len(names) :])
    ours = [[row.ours(name) for name in names] for row in comparison.rows]
    known = [[_plain(row, name) for name in names] for row in comparison.rows]
    everyone = [True] * len(blocks)
    best_ours = _best(ours, blocks, everyone, columns)
    best_known = _best(known, blocks, everyone, columns)
    body: list[list[str]] = []
    starts = []
    remaining = iter(rows)
    for place, row in enumerate(comparison.rows):
        starts.append(len(body))
        kinds = ("published",) if row.results is None else ("ours", "published", "difference")
        for kind in kinds:
            line = next(remaining)
            cells = list(map(escape, line[len(heads) - len(names) :]))
            if kind == "ours":
                cells = list(map(_cell, ours[place], best_ours[place]))
            elif kind == "published":
                cells = list(map(_bold, cells, best_known[place]))
            body.append([*map(escape, line[: len(heads) - len(names)]), *cells])
    rules = [starts[place] for place in _starts(blocks)]
    return tabular(heads, body, len(heads) - len(names) - 1, rules)


def block_table(block: Block) -> str:
    """Any table, its cells as they are: an interval after its value, nothing ranked."""
    body = [[escape(" ".join(cell.split())) for cell in row] for row in block.rows]
    return tabular(block.heads, body, block.words, block.rules)


def tabular(
    heads: Sequence[str], rows: Sequence[Sequence[str]], words: int, rules: Sequence[int]
) -> str:
    """A `tabular`.

    Args:
        heads: Not escaped.
        rows: Escaped.
        words: How many of the columns, from the left, are words.
        rules: Rows with a rule above.
    """
    lines = [rf"\begin{{tabular}}{{{'l' * words}{'r' * (len(heads) - words)}}}", r"\toprule"]
    lines += [" & ".join(map(escape, heads)) + r" \\", r"\midrule"]
    for place, row in enumerate(rows):
        lines += [r"\midrule"] if place and place in rules else []
        lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _plain(row: Row, name: str) -> Score:
    number = row.published.get(name)
    return None if number is None else {"value": number.value}


def _starts(blocks: Sequence[str]) -> list[int]:
    return [i for i, block in enumerate(blocks) if i == 0 or block != blocks[i - 1]]


def _best(
    values: Sequence[Sequence[Score]],
    blocks: Sequence[str],
    ranked: Sequence[bool],
    columns: Sequence[str],
) -> list[list[bool]]:
    """Which values are the best of their block and column; of one value alone nothing is said."""
    found = [[False] * len(columns) for _ in values]
    for column, head in enumerate(columns):
        sign = {"↑": 1, "↓": -1}.get(head[-1], 0)
        for block in set(blocks) if sign else ():
            members = {
                i: round(sign * float(score["value"]), 3)
                for i, score in enumerate(row[column] for row in values)
                if score is not None and blocks[i] == block and ranked[i]
            }
            for i, value in members.items() if len(members) > 1 else ():
                found[i][column] = value == max(members.values())
    return found


def _cell(score: Score, bold: bool) -> str:
    if score is None:
        return "--"
    text = _bold(f"{score['value']:.3f}", bold)
    if score["low"] is None:
        return text
    return rf"{text} $\pm$ {(score['high'] - score['low']) / 2:.3f}"


def _bold(text: str, bold: bool) -> str:
    return rf"\textbf{{{text}}}" if bold else text
