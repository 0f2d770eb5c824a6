"""Data sets of the shapes world: phrases, referring expressions, relations (ours).

    draw_scene(("shapes", split, distribution, seed, index)) ──▶ what is asked ──▶ Sample

Scenes depend on their name alone, and what is asked of a scene on the scene alone. So the first
samples of a longer data set are the shorter one, in any process, and the same ids in `plain` and
`shifted`, or in the three settings of relations, are about the same scenes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from typing import Literal, get_args

import numpy as np

from vlground.data.sample import Sample
from vlground.data.shapes.language import Description, foil, phrase, referring, triplets
from vlground.data.shapes.render import Look, mask_of, render
from vlground.data.shapes.scene import (
    CANVAS,
    HELD_OUT,
    SEEN,
    Distribution,
    Pair,
    Scene,
    draw_scene,
    generator,
)
from vlground.errors import VlgroundError

Split = Literal["train", "val", "test"]
Setting = Literal["triplet", "subject", "object"]

# Out of distribution every second pair drawn for a foil is a held-out one too, or else a pair never
# seen would give the true text away.
_FALSE: dict[Distribution, tuple[Pair, ...]] = {
    "in": SEEN,
    "out": (*SEEN, *sorted(HELD_OUT) * (len(SEEN) // len(HELD_OUT))),
}
_A_SCENE = 2


@dataclass(frozen=True, slots=True)
class _Question:
    """A sample before it is drawn."""

    id: str
    scene: Scene
    number: int
    text: str
    foil: str


class ShapesSet:
    """What the data sets of this module share; a subclass says what it asks of a scene.

    Args:
        samples: How many; scenes are drawn until there are so many.
        split: train, val or test; they share no scene.
        distribution: in: no held-out pair of colour and shape is drawn or named; out: every sample
            is about one.
        look: plain, or shifted to another palette, other textures and stronger noise.
        side: Of the canvas, 96 to 128 pixels.
        seed: Of everything that is drawn.

    Attributes:
        skipped: Reason → number of objects or relations left out of the scenes drawn.

    Raises:
        VlgroundError: If an option has another value than these.
    """

    def __init__(
        self,
        samples: int,
        split: Split,
        distribution: Distribution,
        look: Look,
        side: int,
        seed: int,
    ) -> None:
        check_options(samples, split, look, side)
        check_word("distribution", distribution, Distribution)
        self._distribution = distribution
        self._look: Look = look
        self._skipped: Counter[str] = Counter()
        self.skipped: Mapping[str, int] = self._skipped
        names = (("shapes", split, distribution, seed, index) for index in count())
        scenes = (draw_scene(name, distribution=distribution, side=side) for name in names)
        self._questions = list(islice(self._counted(scenes), samples))

    def __len__(self) -> int:
        return len(self._questions)

    def __getitem__(self, index: int) -> Sample:
        """Draw one sample; those of one scene that follow each other share its pixels."""
        asked = self._questions[index]
        thing = asked.scene.things[asked.number]
        return Sample(
            id=asked.id,
            image_id=asked.scene.name,
            image=_pixels(asked.scene, self._look),
            text=asked.text,
            foil=asked.foil,
            boxes=np.array([thing.box], dtype=float),
            mask=mask_of(thing, asked.scene.side),
            label=f"{thing.colour} {thing.shape}",
        )

    def _counted(self, scenes: Iterator[Scene]) -> Iterator[_Question]:
        for scene in scenes:
            for question in self._ask(scene):
                if question is None:
                    self._skipped["no foil"] += 1
                else:
                    yield question

    def _ask(self, scene: Scene) -> Iterator[_Question | None]:
        raise NotImplementedError

    def _question(self, scene: Scene, key: int, number: int, said: Description) -> _Question | None:
        """One question; None if nothing false was found to say."""
        name = f"{scene.name}/{key}"
        untrue = foil(generator("foil", name), scene, said, _FALSE[self._distribution])
        if untrue is None:
            return None
        return _Question(name, scene, number, said.text, untrue.text)

    def _asked_about(self, *pairs: Pair) -> bool:
        """Whether the distribution asks about an object of these pairs."""
        if self._distribution == "in" or not HELD_OUT.isdisjoint(pairs):
            return True
        self._skipped["no held-out pair"] += 1
        return False


class ShapesPhrases(ShapesSet):
    """`a red star`, for every object whose colour and shape no other object of the scene has."""

    def _ask(self, scene: Scene) -> Iterator[_Question | None]:
        for number, thing in enumerate(scene.things):
            if not self._asked_about(thing.pair):
                continue
            if scene.pairs.count(thing.pair) > 1:
                self._skipped["another object has this colour and shape"] += 1
                continue
            yield self._question(scene, number, number, phrase(thing.pair))


class ShapesReferring(ShapesSet):
    """`the small star`, `the ring left of the red cross`: one unique description an object.

    Of what can be said uniquely, first the kind is drawn (shape alone, with its colour, with its
    size, with a relation), then the description, because few objects need the longer ones. Out of
    distribution the object has a held-out pair, whether its description says both or not.
    """

    def _ask(self, scene: Scene) -> Iterator[_Question | None]:
        for number, thing in enumerate(scene.things):
            if not self._asked_about(thing.pair):
                continue
            said = referring(scene, number)
            if not said:
                self._skipped["no unique description"] += 1
                continue
            random = generator("referring", scene.name, number)
            kind = random.choice(sorted({_kind(one) for one in said}))
            chosen = random.choice([one for one in said if _kind(one) == kind])
            yield self._question(scene, number, number, chosen)


class ShapesRelations(ShapesSet):
    """`a red star left of a blue ring`, with the three settings of SpatialSense in Q-GroundCAM.

    The settings ask of the same triplets in the same order: the whole sentence or the bare subject
    against the subject's box, or the bare object against the object's box. Subject and object are
    unique in their scene by colour and shape. A scene gives at most two triplets, of different
    relations: inside, which is rare, wherever it holds, and others by chance.

    Args:
        setting: triplet, subject or object.
        samples: See `ShapesSet`, as all that follow.
        split: train, val or test.
        distribution: in or out; out: subject or object is a held-out pair.
        look: plain or shifted.
        side: Of the canvas.
        seed: Of everything.

    Raises:
        VlgroundError: If an option has another value than these.
    """

    def __init__(
        self,
        setting: Setting,
        samples: int,
        split: Split,
        distribution: Distribution,
        look: Look,
        side: int,
        seed: int,
    ) -> None:
        check_word("setting", setting, Setting)
        self._setting = setting
        super().__init__(samples, split, distribution, look, side, seed)

    def _ask(self, scene: Scene) -> Iterator[_Question | None]:
        for key, (subject, other, said) in enumerate(self._triplets(scene)):
            pairs = scene.pairs
            asked = {
                "triplet": self._question(scene, key, subject, said),
                "subject": self._question(scene, key, subject, phrase(pairs[subject])),
                "object": self._question(scene, key, other, phrase(pairs[other])),
            }
            # A triplet without a foil in one setting is in none, so that all keep the same list.
            yield asked[self._setting] if all(asked.values()) else None

    def _triplets(self, scene: Scene) -> list[tuple[int, int, Description]]:
        pairs = scene.pairs
        true = [one for one in triplets(scene) if self._asked_about(pairs[one[0]], pairs[one[1]])]
        random = generator("relations", scene.name)
        random.shuffle(true)
        true.sort(key=lambda one: one[2].relation != "inside")
        first = {one[2].relation: one for one in reversed(true)}
        chosen = sorted(first.values(), key=true.index)[:_A_SCENE]
        if len(true) > len(chosen):
            self._skipped["enough relations in the scene"] += len(true) - len(chosen)
        return chosen


def check_options(samples: int, split: Split, look: Look, side: int) -> None:
    """Make sure that options which every data set has are what they may be.

    Raises:
        VlgroundError: If one is not.
    """
    check_word("split", split, Split)
    check_word("look", look, Look)
    if samples < 1:
        raise VlgroundError(f"dataset.samples={samples}: expected a positive number")
    if not CANVAS <= side <= 128:
        raise VlgroundError(f"dataset.side={side}: expected {CANVAS} to 128 pixels")


def check_word(option: str, value: str, words: object) -> None:
    """Make sure that an option is one of a literal type's words.

    Raises:
        VlgroundError: If it is not; a misspelt split would else be a split of its own.
    """
    if value not in get_args(words):
        raise VlgroundError(f"dataset.{option}={value}: expected {', '.join(get_args(words))}")


def _kind(said: Description) -> str:
    if said.relation is not None:
        return "relation"
    return "size" if said.size else "colour" if said.colour else "shape"


@lru_cache(maxsize=4)
def _pixels(scene: Scene, look: Look) -> np.ndarray:
    pixels = render(scene, look)
    pixels.flags.writeable = False  # several samples share them
    return pixels
