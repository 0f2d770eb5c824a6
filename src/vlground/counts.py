"""What became of the samples of a run: every failure is a count."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def count(rows: "pandas.DataFrame", left_out: Mapping[str, int]) -> dict[str, Any]:
    """How many samples were scored, and what became of the others, by reason.

    >>> import pandas
    >>> columns = {"flag": ["", "constant", None], "skipped": [None, None, "unknown: x"]}
    >>> columns |= {"truncated": ["a long", None, None], "foil_truncated": [None, None, None]}
    >>> rows = pandas.DataFrame({**columns, "degenerate": [False, True, False]})
    >>> count(rows, {"no box": 1})  # doctest: +NORMALIZE_WHITESPACE
    {'annotations_left_out': {'no box': 1}, 'degenerate': 1, 'flagged': {'constant': 1},
     'samples': 3, 'scored': 1, 'skipped': {'unknown: x': 1}, 'truncated': 1,
     'truncated_foils': 0}
    """
    skipped = Counter(rows["skipped"].dropna())
    flagged = Counter(flag for flag in rows["flag"].dropna() if flag)
    return {
        "annotations_left_out": dict(sorted(left_out.items())),
        "degenerate": int(rows["degenerate"].sum()),
        "flagged": dict(sorted(flagged.items())),
        "samples": len(rows),
        "scored": int((rows["flag"] == "").sum()),
        "skipped": dict(sorted(skipped.items())),
        "truncated": int(rows["truncated"].notna().sum()),
        "truncated_foils": int(rows["foil_truncated"].notna().sum()),
    }
