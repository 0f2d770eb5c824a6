"""The command `vlground`: its help page at once, and everything else by way of Hydra.

    vlground --help [GROUP …]     from the names of files, see `vlground.options`
    vlground …                    `vlground.run`, whose imports take seconds

Hydra explains a mistake in the command line over several lines, some of which are about Hydra;
`mistake` says which option to change, and what exists.
"""

import os
import sys
from collections.abc import Collection, Sequence
from shutil import get_terminal_size
from textwrap import wrap

from vlground.completion import completions
from vlground.options import about, defaults, groups, settings

_FULL_ERROR = "HYDRA_FULL_ERROR"  # of Hydra: raise what went wrong instead of printing it
_MANY = 48  # options, from which on the likely ones are named and not all

_USAGE = """\
usage: vlground [-m] [GROUP=OPTION …] [NAME=VALUE …]

One command is one experiment: it measures, explains or improves how well a vision model grounds
language in images. What an experiment computes decides where it is stored, so nothing is computed
twice and a sweep resumes by being started again.

  vlground                                                one run of the defaults
  vlground model=mini_blip cam=attention_gradcam dataset=shapes_phrases limit=100
  vlground -m model=mini_blip,mini_albef_amc cam=attention_gradcam,uniform dataset=shapes_phrases
  vlground -m metric.tie=expected,any,first               reads stored maps, runs no model
  vlground experiment=photos                              a file with a sweep of its own
  vlground task=explanation                               right for the right reason?
  vlground task=rejection_sampling                        which caption hallucinates least?
  vlground --config-dir my_conf model=mine                your own parts, from any folder
  vlground-report runs                                    tables, and runs/report.html

  -m                     every combination of values that are separated by commas
  --help GROUP           what each option of a group is (vlground --help cam)
  --cfg job              the composed configuration; with the words of the run it is of
  --hydra-help           flags of Hydra itself, such as --config-dir
  -sc install=bash       completion in this shell: eval "$(vlground -sc install=bash)"
"""
_FURTHER = """\
A group's options have options of their own: metric.tie=any, dataset.root=data, mask.alpha=15
(vlground --cfg job --package metric shows them). README.md has a tour, docs/ the rest."""


def main() -> None:
    """Entry point of `vlground` and `python -m vlground`."""
    words = sys.argv[1:]
    asked = "query=bash" in words or "query=zsh" in words
    found = completions(os.environ.get("COMP_LINE", "")) if asked else None
    if {"-h", "--help"} & {*words}:
        _say(help_page(words, min(get_terminal_size().columns, 100)))
    elif found is not None:
        _say(" ".join(found))
    else:
        _run()


def help_page(words: Sequence[str], width: int = 100) -> str:
    """The help page, or what each option of a group is.

    Args:
        words: Of the command line; the groups among them are explained.
        width: Of lines, in characters.
    """
    known = groups()
    chosen = [group for group in known if group in words]
    if chosen:
        return "\n\n".join(_explained(group, known[group], width) for group in chosen)
    given = defaults()
    order = [*(name for name in given if name in known), *(name for name in known)]
    lines = [_USAGE, "options:"]
    for one in settings():
        lines.append(f"  {f'{one.name}={one.value}':<22} {one.what}".rstrip())
    lines.append("\ngroups and their options, the default in brackets:")
    for group in dict.fromkeys(order):
        head = f"  {group} [{given[group]}]" if group in given else f"  {group}"
        lines += [head, *_wrapped(known[group], width)]
    return "\n".join([*lines, "", *wrap(_FURTHER, width)])


def mistake(error: Exception) -> str | None:
    """What is wrong with a command line, in a line; None if that is not what is wrong.

    Args:
        error: As Hydra raised it.
    """
    from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    cause = error.__cause__
    if not isinstance(error, CompactHydraException):
        return None
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={option}: no such option; {_there(group, option, error.options)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.parent_node is not None:
        name, _, last = str(cause.full_key).rpartition(".")
        options = [str(key) for key in cause.parent_node if not str(key).startswith("_")]
        there = _there(name, last, options)
        return f"{cause.full_key}: no such option; {there}{_of_swept(name, last)}"
    told = [line for line in str(error).splitlines() if line.strip()]
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {told[0]}"
    if isinstance(cause, OmegaConfBaseException):
        told.append(str(cause).splitlines()[0])
    return "\n".join(told)


def _say(text: str) -> None:
    """Print, also into a `head` that has read enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again


def _run() -> None:
    """Hand over to Hydra, and say in a line what the user can mend."""
    from vlground.run import main as run

    if os.environ.get(_FULL_ERROR) == "1":
        run()
        return
    os.environ[_FULL_ERROR] = "1"
    try:
        run()
    except Exception as error:
        told = mistake(error)
        if told is None:
            raise
        sys.exit(told)
    finally:
        os.environ.pop(_FULL_ERROR, None)


def _of_swept(name: str, option: str) -> str:
    """Hydra holds an option against the default of its group, unless it is an axis as well."""
    group = name.partition(".")[0]
    if not any(word.startswith(f"{group}=") and "," in word for word in sys.argv[1:]):
        return ""
    return f". {group} is swept: perhaps '{name}.{option}=choice(VALUE)'"


def _there(group: str, given: str, options: Collection[str]) -> str:
    """What exists where something else was asked for."""
    from difflib import get_close_matches

    few = len(options) <= _MANY
    near = get_close_matches(given, options, n=3 if few else 5, cutoff=0.6 if few else 0.4)
    told = f"perhaps {', '.join(near)}? " if near and len(options) > 1 else ""
    if few:
        return f"{told}{group or 'the configuration'} has {', '.join(sorted(options))}"
    return f"{told}vlground --help {group} lists all {len(options)}"


def _explained(group: str, options: Sequence[str], width: int) -> str:
    """Each option of a group with what it is."""
    room = max(len(option) for option in options) + 4
    lines = [f"{group}="]
    for option in options:
        first, *rest = wrap(about(group, option), max(width - room, 40)) or [""]
        lines.append(f"  {option:<{room - 2}}{first}".rstrip())
        lines += [" " * room + line for line in rest]
    return "\n".join(lines)


def _wrapped(options: Sequence[str], width: int) -> list[str]:
    indent = " " * 6
    return wrap("  ".join(options), width, initial_indent=indent, subsequent_indent=indent)
