"""The command `vlground-fetch`: what an experiment needs, what of it is here, and the rest.

    vlground-fetch experiment=q_groundcam_table1 dataset.root=DIR [--dry-run]
    vlground-fetch model=blip_base,vit_small

The words are those of `vlground`. What can be had without a person is downloaded and checked; for
the rest there are steps. The exit code is 1 if something is still missing.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.fetching.needs import FileNeed, HubNeed, Need, PackageNeed


@dataclass(frozen=True)
class State:
    """A need, and whether it is met.

    Attributes:
        need: Which.
        here: Whether it is there.
        line: Where it is, what became of it, or what is missing.
        steps: What a person has to do.
    """

    need: Need
    here: bool
    line: str
    steps: tuple[str, ...] = ()


def main() -> None:
    """Entry point of `vlground-fetch`."""
    parser = argparse.ArgumentParser(
        prog="vlground-fetch", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", help="experiment=, model=, dataset= … as vlground")
    parser.add_argument("--config-dir", type=Path, help="further options, as vlground --config-dir")
    parser.add_argument("-m", "--multirun", action="store_true", help="as vlground; not needed")
    parser.add_argument("--dry-run", action="store_true", help="download nothing")
    arguments = parser.parse_intermixed_args()
    if not arguments.overrides:
        parser.error("say of what, such as experiment=q_groundcam_table1 or model=blip_base")
    try:
        states = fetch(arguments.overrides, arguments.config_dir, arguments.dry_run)
    except VlgroundError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("stopped; start again to go on", file=sys.stderr)
        sys.exit(130)
    print(summary(states))
    sys.exit(0 if all(state.here for state in states) else 1)


def fetch(
    overrides: Sequence[str], config_dir: Path | None = None, dry_run: bool = False
) -> list[State]:
    """Find out what the cells need, get it, and print a few lines each.

    Args:
        overrides: As of `vlground`.
        config_dir: Further options.
        dry_run: Download nothing.

    Raises:
        VlgroundError: If the overrides cannot be composed.
    """
    from vlground.fetching.cells import compose_cells
    from vlground.fetching.needs import needs_of

    states = []
    for need in needs_of(compose_cells(overrides, config_dir)):
        print(title(need), flush=True)
        state = _state(need)
        if not (state.here or state.steps or dry_run):
            state = _get(need, state)
        print(f"  {'here' if state.here else 'missing'}: {state.line}", flush=True)
        for number, step in enumerate(state.steps, 1):
            print(f"    {number}. {step}", flush=True)
        print(flush=True)
        states.append(state)
    return states


def title(need: Need) -> str:
    """What it is, who needs it, and what is known of it."""
    facts = need.facts
    known = {"size": facts.size, "licence": facts.licence}
    if isinstance(need, HubNeed):
        known["revision"] = need.revision or "newest"
    else:
        known["checksum"] = facts.checksum
    lines = [f"{need.name}  ({need.option})"]
    lines.append("  " + ", ".join(f"{name}: {value or 'unknown'}" for name, value in known.items()))
    return "\n".join([*lines, *([f"  {facts.note}"] if facts.note else [])])


def summary(states: Sequence[State]) -> str:
    """The last lines: how many are here, and what is to be done for the rest."""
    if not states:
        return "nothing is needed"
    missing = [state for state in states if not state.here]
    by_hand = sum(bool(state.steps) for state in missing)
    told = f"{len(states) - len(missing)} of {len(states)} here"
    told += f", {by_hand} by hand: follow the numbered steps" if by_hand else ""
    places = [state.need for state in missing if isinstance(state.need, FileNeed)]
    asked = dict.fromkeys(need.asks for need in places if need.folder is None)
    return f"not given: {', '.join(asked)}\n{told}" if asked else told


def _state(need: Need) -> State:
    if isinstance(need, HubNeed):
        return _in_cache(need)
    if isinstance(need, PackageNeed):
        here = find_spec(need.module) is not None
        return State(need, here, "installed" if here else "by hand:", need.facts.steps * (not here))
    if need.folder is not None and not need.missing:
        return _checked(need)
    folder = need.folder or need.asks.partition("=")[2]
    steps = [step.format(folder=folder) for step in need.facts.steps]
    if need.folder is not None:
        told = f"{folder}: {', '.join(need.missing)}"
        if need.facts.url is not None:
            return State(need, False, f"{told}; to be had from {need.facts.url}")
        return State(need, False, told, tuple(steps))
    if need.facts.url is not None:
        return State(need, False, f"downloaded from {need.facts.url} once {need.asks} is given")
    told = "by hand:" if steps else f"give {need.asks}"
    return State(need, False, told, (*steps, *([f"Give {need.asks}"] if steps else [])))


def _in_cache(need: HubNeed) -> State:
    from vlground.fetching.hub import missing_files
    from vlground.weights import snapshot_of

    left = missing_files(need)
    if left:
        return State(need, False, f"not in the hub's cache: {', '.join(left)}")
    snapshot = snapshot_of(need.name, need.revision)
    return State(need, True, f"in the hub's cache, commit {snapshot.name if snapshot else '?'}")


def _checked(need: FileNeed) -> State:
    """Of what is there: whether it is what was published, as far as that is known."""
    from vlground.fetching.transfer import digest

    expected = need.facts.checksum
    assert need.folder is not None
    if expected is None or need.facts.unpack:
        return State(need, True, str(need.folder))
    file = need.folder / need.patterns[0]
    found = digest(file, expected.partition(":")[0])
    if found.startswith(expected):
        return State(need, True, f"{need.folder}, checksum as published")
    told = f"{file} is another file, its checksum is {found}"
    return State(need, False, told, (f"Remove or rename {file}, and start again",))


def _get(need: Need, state: State) -> State:
    try:
        if isinstance(need, HubNeed):
            from vlground.fetching.hub import fetch_repository

            return State(need, True, f"fetched, commit {fetch_repository(need)}")
        if isinstance(need, PackageNeed) or need.facts.url is None or need.folder is None:
            return state
        _download(need, need.folder, need.facts.url)
        if missing := need.missing:
            return State(need, False, f"{need.folder}: still {', '.join(missing)}")
        return State(need, True, f"fetched into {need.folder}")
    except VlgroundError as error:
        return State(need, False, str(error))


def _download(need: FileNeed, folder: Path, url: str) -> None:
    from vlground.fetching.archive import unpack
    from vlground.fetching.transfer import check, download

    facts = need.facts
    if not facts.unpack:
        download(url, folder / need.patterns[0], facts.checksum)
        return
    # The members lie where the patterns look for them: Annotations/*.xml, …/train2014/*.jpg, and
    # *.jpg where dataset.images says which folder train2014/ is.
    first = folder / need.patterns[0]
    inside = first.parent if first.name in facts.unpack else first.parent.parent
    archive = inside / url.rpartition("/")[2]
    if not archive.is_file():  # whole, if a command was killed while it unpacked
        download(url, archive, facts.checksum)
    elif facts.checksum is not None:
        check(archive, facts.checksum, str(archive))
    unpack(archive, inside, facts.unpack)


if __name__ == "__main__":
    main()
