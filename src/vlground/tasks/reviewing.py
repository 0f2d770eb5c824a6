"""Which images the review page of rejection sampling shows, and what it shows of them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError, VlgroundError
from vlground.page.review import Facts, write_review
from vlground.page.reviewed import Held, Reviewed, Thing
from vlground.plots import SIDE, shown
from vlground.rewards.arms import drawn
from vlground.rewards.best import why
from vlground.rewards.described import Described, described
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split
from vlground.store import Evidence

if TYPE_CHECKING:
    from vlground.tasks.rejection_sampling import RejectionSampling

GROUPS = {
    "sample": "the same images in every run",
    "gap": "largest penalty gap",
    "emptied": "emptied captions",
    "all_tied": "all candidates tied",
    "ties": "decided by ties",
    "not_taken": "nothing could be taken",
}
_MOST = 10  # images of a gallery


def review(task: "RejectionSampling") -> None:
    """Write `review.html` into the run's directory, with `task.review` images and the galleries.

    Args:
        task: After its selection.
    """
    count = task.cell.node["task"]["review"]
    if not count:
        return
    scoring = task.scoring
    branches = {name: stage is not None for name, stage in scoring.branches.items()}
    facts = Facts(
        task.cell.title,
        task.cell.fingerprint,
        scoring.sampling.prompt,
        task.metric,
        branches,
        task.counts,
        GROUPS,
    )
    write_review(task.cell.directory / "review.html", facts, list(_images(task, count)))


def pictures(task: "RejectionSampling", count: int) -> dict[str, Image.Image]:
    """Id of a winner's row -> its image, `SIDE` pixels at most; images that are not here left out.

    Args:
        task: After its selection.
        count: So many images at most, the same ones in every run.
    """
    found = {}
    for sample in shown(task.scoring.sampling.images, count):
        best = task.best.get(sample.image_id)
        if best is None:
            continue
        try:
            image = load_image(sample)
        except ImageError:
            continue
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        found[f"{sample.image_id}/{best.winner}"] = image
    return found


def checked(count: object) -> None:
    """Refuse a `task.review` that is no number of images.

    Raises:
        VlgroundError: If so.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise VlgroundError(f"task.review={count}: expected a number of images, 0 for no page")


def galleries(task: "RejectionSampling", count: int) -> dict[str, list[str]]:
    """Group -> image ids; those of `sample` by hash, so they are the same in every run.

    Args:
        task: After its selection.
        count: Images of the sample.
    """
    chosen, total = task.chosen, task.penalty.total
    ids = np.array(task.scoring.pool.image_ids, dtype=object)
    there = chosen.winner >= 0
    apart = there & (chosen.worst >= 0)
    gap = np.full(len(ids), -np.inf)
    gap[apart] = total[chosen.worst[apart]] - total[chosen.winner[apart]]
    widest = np.argsort(-gap, kind="stable")[: min(_MOST, int(apart.sum()))]
    some = {
        "emptied": {image for image, one in task.best.items() if one.emptied},
        "all_tied": set(ids[there & ~apart & (chosen.scored > 1)]),
        "ties": set(ids[apart & (chosen.tied > 1)]),
    }
    images = task.scoring.sampling.images
    some["not_taken"] = {sample.image_id for sample in images} - set(task.best)
    found = {"sample": [sample.image_id for sample in shown(images, count)]}
    found["gap"] = list(ids[widest])
    for name, members in some.items():
        mine = [sample for sample in images if sample.image_id in members]
        found[name] = [sample.image_id for sample in shown(mine, _MOST)]
    return found


def _images(task: "RejectionSampling", count: int) -> Iterator[Reviewed]:
    """In the order of the groups."""
    groups: dict[str, list[str]] = {}
    for name, members in galleries(task, count).items():
        for image in members:
            groups.setdefault(image, []).append(name)
    samples = {sample.image_id: sample for sample in task.scoring.sampling.images}
    rows = {key: row for row, key in enumerate(task.scoring.pool.keys)}
    flagged = task.table[task.table["image_id"].isin(list(groups))]
    flags = dict(zip(flagged["id"], flagged["flag"], strict=True))
    for image, names in groups.items():
        yield _reviewed(task, samples[image], names, rows, flags)


def _reviewed(
    task: "RejectionSampling",
    sample: Sample,
    groups: list[str],
    rows: Mapping[str, int],
    flags: Mapping[str, str],
) -> Reviewed:
    image, scoring = sample.image_id, task.scoring
    captions = scoring.sampling.captions(sample)
    nouns, sentences = scoring.evidence(sample)
    texts = {i: one.text for i, one in enumerate(captions) if not one.problem}
    keys = {number: f"{image}/{number}" for number in range(len(captions))}
    held = {n: _held(task, rows[key]) for n, key in keys.items() if key in rows}
    best = task.taken(sample) if image in task.best else None
    if best is None:
        told = scoring.reasons.get(image) or "none of its candidates could be taken"
        said = f"Nothing was taken: {told}."
    else:
        said = why(best, {n: held[n].total for n in best.able}, task.metric)
    return Reviewed(
        sample,
        groups,
        task.objects.get(image),
        _described(texts, nouns, sentences),
        held,
        {n: flags[key] for n, key in keys.items() if flags.get(key)},
        _things(nouns),
        best,
        None if best is None else drawn(task.seed, image, best.written),
        said,
    )


def _described(
    texts: Mapping[int, str], nouns: Evidence | None, sentences: Evidence | None
) -> dict[int, Described]:
    """Candidates with what is stored of them; of an image that nobody could read, their texts."""
    if nouns is not None or sentences is not None:
        return described(texts, nouns, sentences)
    found = {}
    for number, text in texts.items():
        pieces = split(text)
        untold = np.full((len(pieces), len(ERROR_TYPES)), np.nan)
        found[number] = Described(text, pieces, untold, [])
    return found


def _held(task: "RejectionSampling", row: int) -> Held:
    found, penalty = task.signals, task.penalty
    return Held(
        (float(found.sentences[row]), float(found.nouns[row])),
        (float(penalty.sentences[row]), float(penalty.nouns[row])),
        float(penalty.total[row]),
    )


def _things(nouns: Evidence | None) -> list[Thing]:
    if nouns is None:
        return []
    found: Any = nouns
    owners = found["box_nouns"]
    return [
        Thing(
            name,
            float(found["presence"][place]),
            found["boxes"][owners == place],
            found["box_scores"][owners == place],
        )
        for place, name in enumerate(found["lemmas"])
    ]
