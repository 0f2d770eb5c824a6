"""The tables of task=rejection_finetuning: arms, their differences, and the paper's claims."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from vlground.metrics.crossed import Crossed
from vlground.page.reading import Run
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.tables import differences
from vlground.reporting.tuning_scores import PAIRS, TASK, Setting, settings

_HEADS = {
    "chair_i": "CHAIRi ↓",
    "chair_s": "CHAIRs ↓",
    "wrong_sentences": "wrong sentences ↓",
    "recall": "recall ↑",
    "words": "words",
    "f1": "F1 ↑",
    "random/f1": "F1 random ↑",
    "popular/f1": "F1 popular ↑",
    "adversarial/f1": "F1 adversarial ↑",
    "accuracy": "accuracy ↑",
    "yes_ratio": "yes ratio",
    "existence/score": "existence ↑",
    "count/score": "count ↑",
    "position/score": "position ↑",
    "color/score": "color ↑",
    "total": "total ↑",
    "rank": "rank of 4 ↓",
}
_NOTE = (
    "Each arm: the mean over bases with its 95 % interval over images and bases, both drawn; below "
    "it each base with its interval over images. Fewer hallucinations are cheap for those who say "
    "little: read them beside recall and words. rank of 4: mean rank of base, human, automatic and "
    "all by a judge that counts right and wrong sentences (judge=shapes_oracle)."
)
_BASES = "{n} bases are few: no interval of theirs is exact; look at each."
_SHAPES = "Drawn scenes and miniatures, not the paper's photos and models: no number compares."
_CLAIM_NOTE = (
    "Paired on the same images and bases. holds here: the whole interval is on the claim's side; "
    "does not: on the other side; not decided: it has 0 in it."
)


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, as a paired difference.

    Attributes:
        words: What the paper says.
        pair: One of `PAIRS`.
        score: Which; the first that there is of these.
        sign: -1 if less is better, else 1.
    """

    words: str
    pair: str
    scores: tuple[str, ...]
    sign: int


_RANK = ("sampled/rank",)
_WRONG = ("sampled/wrong_sentences", "sampled/chair_i")
CLAIMS = (
    Claim("mean rank: all before automatic", "all − automatic", _RANK, -1),
    Claim("mean rank: automatic before human", "automatic − human", _RANK, -1),
    Claim("mean rank: human before base", "human − base", _RANK, -1),
    Claim("both branches beat the automatic one", "all − automatic", _WRONG, -1),
    Claim("both branches beat the human one", "all − human", _WRONG, -1),
    Claim("fine-grained beats holistic", "human − holistic", ("mme/total",), 1),
    Claim("POPE F1 rises", "all − base", ("pope/f1",), 1),
    Claim("refinement helps", "all − unrefined", _WRONG, -1),
)


def tuning_blocks(runs: Sequence[Run]) -> list[Block]:
    """Scores of arms, differences of arms, claims; of each setting.

    Args:
        runs: Any; those of `task=rejection_finetuning` are shown.
    """
    found = settings(runs)
    told = _told(found)
    return [
        block
        for setting, name in zip(found, told, strict=True)
        for block in (
            *_scores(setting, name),
            *_differences(setting, name),
            *_learnt(setting, name),
            _claims(setting, name),
        )
    ]


def _told(found: Sequence[Setting]) -> list[str]:
    """What tells settings apart, and the world that they are of."""
    firsts = [setting.results[0] for setting in found]
    names = []
    for result, options in zip(firsts, differences(firsts), strict=True):
        kept = [one for one in options.split() if not one.startswith(("task.arm=", "model="))]
        names.append(", ".join([_world(str(result["choices"]["dataset"])), *kept]))
    # Other weights of a reward model, or other files: no option says so.
    return [
        name if names.count(name) == 1 else f"{name}, {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _world(dataset: str) -> str:
    return "shapes, miniatures" if dataset.startswith("shapes") else dataset


def _scores(setting: Setting, name: str) -> Iterator[Block]:
    """One table a benchmark, a row an arm and below it one a base."""
    keys = dict.fromkeys(key.partition(":")[2] for key in setting.found)
    benchmarks = dict.fromkeys(key.partition("/")[0] for key in keys)
    for benchmark in benchmarks:
        shown = [score for score in _HEADS if f"{benchmark}/{score}" in keys]
        rows = []
        for arm, runs in setting.runs.items():
            found = [setting.found.get(f"{arm}:{benchmark}/{score}") for score in shown]
            if any(one is not None for one in found):
                bases = [base for base in setting.bases if base in runs]
                rows.append([arm, f"mean of {len(bases)}", *map(_mean, found)])
                rows += [["", base, *(_each(one, base) for one in found)] for base in bases]
        heads = ["arm", "base", *(_HEADS[score] for score in shown)]
        notes = [_NOTE, *_notes(setting, name)] if benchmark == next(iter(benchmarks)) else []
        yield Block(f"arms ({name}): {benchmark}", heads, rows, notes, words=2)


def _differences(setting: Setting, name: str) -> Iterator[Block]:
    """What each arm changes: means over bases of paired differences."""
    keys = dict.fromkeys(key.partition(":")[2] for key in setting.found)
    ends = ("chair_i", "wrong_sentences", "recall", "words", "f1", "total", "rank")
    shown = [key for key in keys if key.partition("/")[2] in ends]
    rows = []
    for pair in PAIRS:
        found = [setting.found.get(f"{pair}:{key}") for key in shown]
        if any(one is not None for one in found):
            rows.append([pair, *map(_mean, found)])
    if rows:
        heads = [
            "arms",
            *(f"{key.partition('/')[0]} {_HEADS[key.partition('/')[2]]}" for key in shown),
        ]
        note = "Means over bases of paired differences, with 95 % intervals over images and bases."
        yield Block(f"differences of arms ({name})", heads, rows, [note])


def _learnt(setting: Setting, name: str) -> Iterator[Block]:
    """How many captions each arm was tuned on, and what refinement took; of the last round."""
    rows = []
    for arm, runs in setting.runs.items():
        for place, (base, run) in enumerate(sorted(runs.items())):
            told = run.results[TASK]
            if told["training"] and told["selection"]:
                chosen, learnt = told["selection"][-1], told["training"][-1]
                counts = (chosen["images"], learnt["dialogues"], chosen["emptied"])
                cells = (*counts, chosen["sentences_removed"], chosen["ties"], learnt["steps"])
                rows.append(["" if place else arm, base, *map(str, cells)])
    if rows:
        heads = [
            "arm",
            "base",
            "images",
            "captions",
            "emptied",
            "sentences removed",
            "ties",
            "steps",
        ]
        yield Block(f"what arms learn from ({name})", heads, rows, words=2)


def _claims(setting: Setting, name: str) -> Block:
    rows = []
    for claim in CLAIMS:
        score = next((s for s in claim.scores if f"{claim.pair}:{s}" in setting.found), None)
        if score is None:
            rows.append([claim.words, claim.scores[0], claim.pair, "not measured", "–", "–"])
            continue
        found = setting.found[f"{claim.pair}:{score}"]
        each = ", ".join(f"{one.value:+.3f}" for one in found.each.values())
        rows.append(
            [claim.words, score, claim.pair, _verdict(found, claim.sign), _signed(found), each]
        )
    heads = ["the paper", "measured by", "difference", "here", "mean", "each base"]
    return Block(
        f"the paper's claims ({name})", heads, rows, [_CLAIM_NOTE, *_notes(setting, name)], 4
    )


def _verdict(found: Crossed, sign: int) -> str:
    side = found.side * sign
    return {1: "holds here", -1: "does not", 0: "not decided"}[side]


def _notes(setting: Setting, name: str) -> list[str]:
    notes = [_SHAPES] if name.startswith("shapes") else []
    notes += [_BASES.format(n=len(setting.bases))] if 1 < len(setting.bases) < 10 else []
    notes += ["One base: intervals are over images alone."] if len(setting.bases) == 1 else []
    missing = setting.missing
    return notes + ([f"not there: {', '.join(missing)}"] if missing else [])


def _mean(one: Crossed | None) -> str:
    return interval(None if one is None else asdict(one.mean), "\n")


def _each(one: Crossed | None, base: str) -> str:
    estimate = None if one is None else one.each.get(base)
    return interval(None if estimate is None else asdict(estimate), "\n")


def _signed(one: Crossed) -> str:
    mean = one.mean
    if mean.low is None or mean.high is None:
        return f"{mean.value:+.3f}"
    return f"{mean.value:+.3f}\n{mean.low:+.2f} to {mean.high:+.2f}"
