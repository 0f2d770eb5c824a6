"""Suspicions: where, or on what, a class' maps lie beside the object. No artefact is known here.

    by place   where the maps of a class rank higher than those of the other classes
    by looks   kinds of crops that a class falls into; each picture has its own region

All of it is ours, after OSCAR (arXiv 2512.18888) and SpRAy (Lapuschkin et al. 2019), see
`vlground.metrics.profiles` and `vlground.metrics.clusters`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from vlground.metrics.clusters import clusters
from vlground.metrics.profiles import Profile, profiles
from vlground.shortcuts.options import Search

_FEWEST = 8  # crops of a class, to be clustered
_ZONES = (
    *("top left", "top", "top right"),
    *("left", "middle", "right"),
    *("bottom left", "bottom", "bottom right"),
)
_ZONE_SHARE = 0.2  # of a candidate's regions, from which on a zone is named


@dataclass(frozen=True, eq=False)
class Seen:
    """One picture as the search sees it; all arrays on the pixels of the original image.

    Attributes:
        id: Of the sample.
        label: Its class.
        relevance: `(h, w)` raw map of its class.
        shown: `(h, w)` bool, what the mask shows by half or more.
        near: `(h, w)` bool, the object and a rim around it: never suspected.
        features: `(d,)` the model's, of the masked crop; None if the map shows nothing.
    """

    id: str
    label: str
    relevance: np.ndarray
    shown: np.ndarray
    near: np.ndarray
    features: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A suspicion.

    Attributes:
        kind: Whether it keeps its place or its looks.
        label: The class.
        regions: Index of a picture -> `(h, w)` bool, what is suspected there, off the object.
        facts: What made it one: `excess` and `p` of a place, `stability` and `eigengap` of looks.
    """

    kind: Literal["place", "looks"]
    label: str
    regions: Mapping[int, np.ndarray]
    facts: Mapping[str, float] = field(default_factory=dict)

    def where(self) -> list[str]:
        """The ninths of the picture in which the regions lie, the fullest first."""
        found: Counter[str] = Counter()
        for region in self.regions.values():
            y, x = ndimage.center_of_mass(region)
            row, column = int(3 * y / region.shape[0]), int(3 * x / region.shape[1])
            found[_ZONES[3 * row + column]] += 1
        least = _ZONE_SHARE * len(self.regions)
        return [zone for zone, count in found.most_common() if count >= least]


def candidates(seen: Sequence[Seen], options: Search) -> list[Candidate]:
    """All suspicions, those without a region in any picture left out."""
    found = [*by_place(seen, options), *by_looks(seen, options)]
    return [candidate for candidate in found if candidate.regions]


def by_place(seen: Sequence[Seen], options: Search) -> list[Candidate]:
    """Places where the maps of a class are higher than the others', outside the object.

    A place grows from cells with a small p to all connected cells that reach half of the class'
    highest excess: a mark is larger than its peak. It is suspected in those pictures whose own
    mask shows at least half of it.
    """
    labels = [one.label for one in seen]
    if len(set(labels)) < 2:
        return []
    maps = np.stack([_cells(one.relevance, options.cells) for one in seen])
    objects = np.stack([_cells(one.near, options.cells, largest=True) > 0 for one in seen])
    try:
        found = profiles(maps, labels, objects, options.permutations, options.seed)
    except ValueError:  # no class, or one, has a map that is not constant
        return []
    grown = [
        (label, place, profile)
        for label, profile in found.items()
        for place in _places(profile, options.level)
    ]
    suspicions = []
    for label, place, profile in grown:
        regions = {}
        for number, one in enumerate(seen):
            region = _pixels(place, one.shown.shape)
            points_there = (one.shown & region).sum() >= region.sum() / 2
            if one.label == label and points_there:
                regions[number] = region & ~one.near
        facts = {"excess": float(profile.excess[place].max()), "p": float(profile.p[place].min())}
        suspicions.append(Candidate("place", label, _large(regions, options), facts))
    return suspicions


def by_looks(seen: Sequence[Seen], options: Search) -> list[Candidate]:
    """Kinds of masked crops of a class; what is suspected is what each crop shows off the object.

    A clustering that does not come out again from other samples makes one kind of all.
    """
    suspicions = []
    for label in sorted({one.label for one in seen}):
        crops = {n: one.features for n, one in enumerate(seen) if one.label == label}
        known = {n: features for n, features in crops.items() if features is not None}
        members = list(known)
        if len(members) <= _FEWEST:
            continue
        made = clusters(np.stack(list(known.values())), seed=options.seed)
        stable = made.stability is not None and made.stability >= options.stability
        kinds = made.labels if stable else np.zeros_like(made.labels)
        for kind in range(int(kinds.max()) + 1):
            chosen = [n for n, own in zip(members, kinds, strict=True) if own == kind]
            regions = {n: seen[n].shown & ~seen[n].near for n in chosen}
            facts = {"eigengap": made.eigengap, "share": len(chosen) / len(members)}
            if made.stability is not None:
                facts["stability"] = made.stability
            suspicions.append(Candidate("looks", label, _large(regions, options), facts))
    return suspicions


def _places(profile: Profile, level: float) -> list[np.ndarray]:
    """`(cells, cells)` bool of each place."""
    seeds = profile.suspects(level)
    if not seeds or profile.excess[seeds[0]] <= 0:
        return []
    excess = np.nan_to_num(profile.excess, nan=-1.0)
    high, count = ndimage.label(excess >= excess[seeds[0]] / 2)
    grown = [high == number for number in range(1, count + 1)]
    return [place for place in grown if any(place[seed] for seed in seeds)]


def _cells(values: np.ndarray, count: int, largest: bool = False) -> np.ndarray:
    """`(count, count)` means, or largest values, of the pixels of each cell."""
    pixels = torch.from_numpy(values.astype(np.float32))[None]
    pool = functional.adaptive_max_pool2d if largest else functional.adaptive_avg_pool2d
    return pool(pixels, count)[0].numpy()


def _pixels(place: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of cells."""
    rows, columns = (np.arange(n) * len(place) // n for n in shape)
    return np.asarray(place[np.ix_(rows, columns)])


def _large(regions: Mapping[int, np.ndarray], options: Search) -> dict[int, np.ndarray]:
    """Without regions too small to hold anything."""
    return {n: r for n, r in regions.items() if r.mean() >= options.least_area}
