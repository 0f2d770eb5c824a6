"""Completion of groups and their options in a shell, without composing a configuration.

Hydra's own completion (`vlground -sc install=bash`) asks the command itself at every press of the
key. What is a file in conf/ is answered here at once; options inside a group (`metric.t…`) are
left to Hydra, which has to compose for them.
"""

from vlground.options import groups, settings

_FURTHER_OPTIONS = ("--config", "-cd", "-cp", "-cn", "hydra.searchpath")  # bring files of their own


def completions(line: str) -> list[str] | None:
    """What may stand where the line ends.

    Args:
        line: Up to the cursor, with the command (`COMP_LINE` of the shell).

    Returns:
        Whole words that begin as the last one does; None where Hydra has to compose.

    >>> completions("vlground -m mask=sig"), completions("vlground metric.tie")
    (['mask=sigmoid'], None)
    >>> completions("vlground -m mask=sigmoid,comp")
    ['mask=sigmoid,complement']
    """
    words = line.split()[1:]
    if any(
        word.startswith(("--config", "-cd", "-cp", "-cn", "hydra.searchpath")) for word in words
    ):
        return None
    word = "" if not words or line[-1].isspace() else words[-1]
    group, equals, given = word.partition("=")
    known = groups()
    if equals:
        if group not in known or "/" in group:  # plugins add launchers
            return None
        before = given[: given.rfind(",") + 1]
        found = [f"{group}={before}{option}" for option in known[group]]
    elif word.startswith(("-", "+", "~", "hydra")) or "." in word:
        return None
    else:
        found = [f"{name}=" for name in known] + [f"{one.name}=" for one in settings()]
        found += [f"{name}." for name in known if "/" not in name]
    return sorted(one for one in found if one.startswith(word))
