"""All tables and notes of a report as one HTML file: no script, nothing loaded."""

from collections.abc import Sequence
from html import escape

from vlground.published import Comparison
from vlground.reporting.block import Block
from vlground.reporting.printing import blocks, last_lines
from vlground.reporting.tables import Results

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2129; }
body { margin: 2rem auto; padding: 0 1rem; max-width: 90rem; }
section { margin-bottom: 2.5rem; overflow-x: auto; }
table { border-collapse: collapse; border-block: 2px solid #1d2129; }
table { font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .2rem .7rem; text-align: left; vertical-align: top; }
thead th { border-bottom: 1px solid #1d2129; font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
.rule > * { border-top: 1px solid #b9bec7; }
small { display: block; color: #5b6370; font-size: .8em; }
p { margin: .3rem 0; color: #5b6370; font-size: .87em; max-width: 70rem; }
"""


def html(
    results: Sequence[Results], compared: Sequence[Comparison] = (), extra: Sequence[Block] = ()
) -> str:
    """A page of tables, each a `<section>` that may be pasted elsewhere as it is.

    Args:
        results: As in `vlground.reporting.printing.blocks`, like all that follow.
        compared: See there.
        extra: See there.
    """
    sections = map(_section, blocks(results, compared, extra))
    last = [f"<p>{escape(line)}</p>" for line in last_lines(results)]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            "<title>vlground: tables</title>",
            f"<style>{_STYLE}</style>\n</head>\n<body>",
            *sections,
            *last,
            "</body>\n</html>",
        ]
    )


def _section(block: Block) -> str:
    heads = _cells("th", block.heads, block.words, ' scope="col"')
    rules, above = {*block.rules}, ' class="rule"'
    rows = [
        f"<tr{above if place in rules else ''}>{_cells('td', row, block.words)}</tr>"
        for place, row in enumerate(block.rows)
    ]
    parts = ["<section>", f"<table>\n<caption>{escape(block.caption)}</caption>"]
    parts += [f"<thead><tr>{heads}</tr></thead>\n<tbody>", *rows, "</tbody>\n</table>"]
    notes = [f"<p>{escape(line)}</p>" for line in block.notes]
    return "\n".join([*parts, *notes, "</section>"])


def _cells(tag: str, texts: Sequence[str], words: int, scope: str = "") -> str:
    """Cells of one row; an interval stands below its value."""
    found = []
    for place, text in enumerate(texts):
        value, _, below = text.partition("\n")
        small = f"<small>{escape(below)}</small>" if below else ""
        number = ' class="number"' if place >= words else ""
        found.append(f"<{tag}{scope}{number}>{escape(value)}{small}</{tag}>")
    return "".join(found)
