"""The tables of benchmark runs, one each: CHAIR, claims, POPE, MME, MMHal-Bench, preference."""

from collections.abc import Sequence

from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.tables import Results, differences, options

HEADS = {
    "chair_i": "CHAIRi ↓",
    "chair_s": "CHAIRs ↓",
    "recall": "recall ↑",
    "words": "words",
    "wrong_sentences": "wrong sentences ↓",
    "wrong_captions": "wrong captions ↓",
    "repeated_sentences": "repeated ↓",
    "unparsed_sentences": "not read",
    "sentences": "sentences",
    "accuracy": "accuracy ↑",
    "precision": "precision ↑",
    "f1": "F1 ↑",
    "yes_ratio": "yes ratio",
    "coarse_grained": "coarse-grained ↑",
    "perception": "perception ↑",
    "cognition": "cognition ↑",
    "score": "score (0-6) ↑",
    "hallucination_rate": "hallucination rate ↓",
    "informativeness": "informativeness ↑",
}
_ORDER = {
    "chair": ("chair_i", "chair_s", "recall", "words"),
    "claims": (
        *("wrong_sentences", "wrong_captions", "chair_i", "chair_s", "recall", "sentences"),
        *("words", "repeated_sentences", "unparsed_sentences"),
    ),
    "pope": ("accuracy", "precision", "recall", "f1", "yes_ratio"),
    "mme": ("coarse_grained", "perception", "cognition"),
    "mmhal": ("score", "hallucination_rate", "informativeness"),
    "preference": (),
}
_FURTHER = {  # scores of parts, by how their names end or begin
    "claims": ("error",),
    "pope": ("f1",),
    "mme": ("score",),
    "mmhal": ("score",),
    "preference": ("mean_rank", "wins"),
}
_NOTES = {
    "chair": "CHAIRi: share of the named objects that the image does not hold; CHAIRs: of the "
    "captions with such an object. Fewer hallucinations are cheap for those who say little: read "
    "them beside recall and words. n: captions.",
    "claims": "Of drawn scenes, whose truth is known. Wrong sentences: of those that can be read, "
    "the share with an error of any type; error: of one type. Wrong captions: those with such a "
    "sentence; unknown of some that could not be read. The rest as in CHAIR. n: captions.",
    "pope": "Of each category and, without a name before it, their mean. yes ratio: of the "
    "answers, not of the labels. n: questions.",
    "mme": "100 x accuracy + 100 x accuracy plus, up to 200 a subtask; sums only where all of "
    "their subtasks are there. Always the same answer: 50 a subtask. n: questions.",
    "mmhal": "By a judge from words alone, on our rubric: other rubrics and other judges do not "
    "compare. Hallucination rate: share below 3. Beside them each type of question. n: questions.",
    "preference": "By a judge that sees the image and all captions; rank 1 is the best. a > b: the "
    "share of images on which a ranks above b, a tie counting half. judge=shapes_oracle counts the "
    "right and the wrong sentences about drawn scenes. n: images.",
}


def benchmark_blocks(results: Sequence[Results]) -> list[Block]:
    """One table a benchmark, one row a run.

    Args:
        results: Any runs; those of `task=benchmark` are shown.
    """
    blocks = []
    for metric, names in _ORDER.items():
        mine = [
            r for r in results if r.get("task") == "benchmark" and r["choices"]["metric"] == metric
        ]
        if not mine:
            continue
        found = dict.fromkeys(name for result in mine for name in result["scores"])
        parts = _FURTHER.get(metric, ())
        further = [one for one in found if one not in names and {*one.split("/")} & {*parts}]
        shown = [*(name for name in names if name in found), *further]
        settings = _settings(mine)
        rows = [
            [
                setting,
                str(result["counts"]["samples"]),
                *(interval(result["scores"].get(name), "\n") for name in shown),
            ]
            for result, setting in zip(mine, settings, strict=True)
        ]
        heads = ["run", "n", *(_head(name) for name in shown)]
        notes = [_NOTES[metric], *_open(mine, settings)]
        blocks.append(Block(metric, heads, rows, notes, words=1))
        if metric == "chair":
            blocks += _by_sentence(mine, settings)
    return blocks


def _by_sentence(results: Sequence[Results], settings: Sequence[str]) -> list[Block]:
    """Share of sentences with a hallucinated object, by their place in the caption."""
    told = [result.get("benchmark", {}).get("sentences", []) for result in results]
    last = max(map(len, told), default=0)
    if last < 2:
        return []
    heads = ["run", *(str(place + 1) for place in range(last))]
    heads[-1] += " on"
    rows = [
        [setting, *(interval(place["hallucinated"], "\n") for place in places)]
        + ["–"] * (last - len(places))
        for setting, places in zip(settings, told, strict=True)
    ]
    note = "Share of the first, second … sentences of captions that name an object which is absent."
    return [Block("chair by sentence", heads, rows, [note], words=1)]


def _settings(results: Sequence[Results]) -> list[str]:
    """What each run is called: choices and options that not all have, else its fingerprint."""
    groups = ("dataset", "model", "judge")
    several = [group for group in groups if len(options(results, group)) > 1]
    names = [
        " ".join([*(str(result["choices"].get(group, "none")) for group in several), setting])
        for result, setting in zip(results, differences(results), strict=True)
    ]
    return [
        name.strip() or str(result["fingerprint"])
        for name, result in zip(names, results, strict=True)
    ]


def _head(name: str) -> str:
    """What a score is called in a table.

    >>> _head("f1"), _head("mean_rank/ours"), _head("wins/ours/theirs")
    ('F1 ↑', 'rank of ours ↓', 'ours > theirs')
    """
    kind, _, rest = name.partition("/")
    if kind == "mean_rank":
        return f"rank of {rest} ↓"
    return rest.replace("/", " > ") if kind == "wins" else HEADS.get(name, name)


def _open(results: Sequence[Results], settings: Sequence[str]) -> list[str]:
    """What no score shows: questions without an answer, records that became no sample."""
    lines = []
    for result, setting in zip(results, settings, strict=True):
        counts = result["counts"]
        told = {**counts["flagged"], **counts["annotations_left_out"]}
        if told:
            why = "; ".join(f"{reason} ({count})" for reason, count in sorted(told.items()))
            lines.append(f"{setting}: {why}")
    return lines
