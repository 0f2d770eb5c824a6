"""The command `vlground-annotate`: a page on which people score what a run's judge was shown.

People see the picture and the predicted label, and never what the judge made of them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlground.annotation.build import Card, Mode, write_page
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.page.reading import read_results

SAMPLES = 100  # of a page, unless told: what one person scores in one sitting

_SEEN = ("score", "refusal", "error")  # outcomes of samples that the judge was sent
_TITLES = {"scores": "what does the picture show?", "acceptance": "is the judge right?"}


def main() -> None:
    """Entry point of `vlground-annotate`."""
    parser = argparse.ArgumentParser(prog="vlground-annotate", description=__doc__)
    parser.add_argument("run", type=Path, help="directory of a run of task=explanation")
    told = "file to write (default: annotate.html)"
    parser.add_argument("--output", type=Path, default=Path("annotate.html"), help=told)
    told = f"pictures at most, drawn by (seed, sample id) (default: {SAMPLES})"
    parser.add_argument("--samples", type=int, default=SAMPLES, help=told)
    told = "of the drawn samples and of the annotators' orders (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=told)
    told = "not blind: show the judge's words, and let people accept or reject them"
    parser.add_argument("--acceptance", action="store_true", help=told)
    arguments = parser.parse_args()
    mode: Mode = "acceptance" if arguments.acceptance else "scores"
    try:
        line = annotate(arguments.run, arguments.output, arguments.samples, arguments.seed, mode)
    except VlgroundError as error:
        sys.exit(str(error))
    print(line)


def annotate(directory: Path, output: Path, samples: int, seed: int, mode: Mode) -> str:
    """Write the page of a run.

    Args:
        directory: Of a run of `task=explanation`.
        output: The file.
        samples: Pictures at most.
        seed: Draws the samples, and the annotators' orders.
        mode: See `vlground.annotation.build.write_page`.

    Returns:
        What was written, in one line.

    Raises:
        VlgroundError: The directory holds no such run, or the page cannot be written.
    """
    if samples < 1:
        raise VlgroundError(f"--samples {samples}: expected 1 or more")
    if not output.absolute().parent.is_dir():
        raise VlgroundError(f"--output {output}: there is no such folder")
    results, rows = _run(directory)
    # Of the blind page's samples nothing depends on what the judge said.
    asked = rows[rows["outcome"].isin(["score"] if mode == "acceptance" else _SEEN)]
    drawn = set(sorted(map(str, asked["id"]), key=lambda name: digest([seed, name]))[:samples])
    words = {
        str(row["id"]): (str(row["description"]), str(row["justification"]))
        for row in asked.to_dict("records")
    }
    cards = _cards(directory, drawn, words if mode == "acceptance" else {})
    choices = results["choices"]
    title = f"{choices.get('dataset', '')}: {_TITLES[mode]}"
    size = write_page(cards, output, title, seed, mode, str(choices.get("mask", "")))
    told = f"{output}: {len(cards)} of {len(rows)} samples, {size / 1e6:.1f} MB"
    lost = len(drawn) - len(cards)
    return told + (f"; {lost} drawn samples have no picture any more" if lost else "")


def _run(directory: Path) -> tuple[Any, Any]:
    import pandas

    if not (directory / "results.json").exists():
        raise VlgroundError(f"{directory}: no finished run there")
    results = read_results(directory / "results.json")
    if isinstance(results, str):
        raise VlgroundError(f"{directory}: {results}")
    if results.get("task") != "explanation":
        told = f"a run of task={results.get('task')}, and pictures for a judge are of"
        raise VlgroundError(f"{directory}: {told} task=explanation")
    try:
        return results, pandas.read_parquet(directory / "rows.parquet")
    # pyarrow raises its own classes, OSError or ValueError, depending on where the file is torn.
    except Exception as error:
        raise VlgroundError(f"{directory}: rows.parquet: {error}") from error


def _cards(directory: Path, drawn: set[str], words: dict[str, tuple[str, str]]) -> Sequence[Card]:
    from vlground.tasks.explaining import shown_pictures

    cards: list[Card] = []
    for name, label, picture in shown_pictures(directory):
        if name in drawn:
            cards.append(Card(name, label, picture, *words.get(name, ())))
        if len(cards) == len(drawn):
            break
    return cards


if __name__ == "__main__":
    main()
