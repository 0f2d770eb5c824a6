"""Captions of drawn scenes whose phrases are linked to boxes, some of them to wrong ones (ours)."""

from collections.abc import Mapping, Sequence
from itertools import product
from random import Random
from typing import ClassVar, Literal, get_args

from vlground.contracts import Caption, Captioner
from vlground.data.links import link
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import Claim, Located, Related, lies, parse
from vlground.data.shapes.language import Description
from vlground.data.shapes.links import described
from vlground.data.shapes.scene import Scene, Thing, generator
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split

Absent = Literal["alike", "any"]


class LinkedCaptioner(Captioner):
    """Writes what another captioner writes, with a link behind every object that is described.

    A link is the box of what the sentence is about, and of an object that is not as described, of
    one that could be mistaken for it: one of its shape, or else one of its colour. It is a control:
    the captioner does not see boxes, its scenes are known. What it draws depends on (seed, image
    id, sentence, number of the candidate) alone. A number of objects ("two stars") has no link, nor
    has a sentence that `parse` does not know.

    Args:
        captioner: Of scenes of dataset=shapes_captions.
        wrong: Of the sentences without an error, the part in which one link is the box of another
            object, which its phrase does not describe, in 0-1.
        absent: What a shape that is nowhere in the scene is linked to: `alike`, an object of its
            colour if there is one; `any` object.

    Attributes:
        counts: Of the captioner.

    Raises:
        VlgroundError: If an option does not fit.
    """

    version: ClassVar[int] = 1

    def __init__(self, captioner: Captioner, wrong: float = 0.0, absent: Absent = "alike") -> None:
        if not 0 <= wrong <= 1:
            raise VlgroundError(f"model.wrong={wrong}: expected 0 to 1")
        if absent not in get_args(Absent):
            raise VlgroundError(f"model.absent={absent}: expected {', '.join(get_args(Absent))}")
        self._captioner, self._wrong, self._alike = captioner, wrong, absent == "alike"

    @property
    def counts(self) -> Mapping[str, int]:  # type: ignore[override]
        """Of the captioner."""
        return self._captioner.counts

    def caption(
        self, samples: Sequence[Sample], prompts: Sequence[str], n: int, seed: int, first: int = 0
    ) -> list[list[Caption]]:
        """See the base class.

        Raises:
            VlgroundError: An image is of another world.
        """
        written = self._captioner.caption(samples, prompts, n, seed, first)
        return [
            [
                self._linked(one, scene_of(sample.image_id), (seed, index))
                for index, one in enumerate(captions, first)
            ]
            for sample, captions in zip(samples, written, strict=True)
        ]

    def _linked(self, caption: Caption, scene: Scene, name: tuple[int, int]) -> Caption:
        # Log-probabilities are of tokens without links.
        text = "".join(self._sentence(one.text, scene, name) for one in split(caption.text))
        return Caption(text, None, caption.cut_off, caption.problem, caption.model)

    def _sentence(self, sentence: str, scene: Scene, name: tuple[int, int]) -> str:
        claim = parse(sentence)
        if claim is None:
            return sentence
        random = generator("links", *name, scene.name, claim.text)
        meant = self._meant(claim, scene, random)
        if meant and not claim.errors(scene) and random.random() < self._wrong:
            _mislead(claim, scene, meant, random)
        pieces, start = list[str](), 0
        for (_, end), thing in zip(described(claim), meant, strict=True):
            pieces += [claim.text[start:end], link(thing.box)]
            start = end
        rest = sentence[len(sentence.rstrip()) :]  # white space
        return "".join([*pieces, claim.text[start:], rest])

    def _meant(self, claim: Claim, scene: Scene, random: Random) -> list[Thing]:
        """What each description is taken for, in the order of the words."""
        taken = [self._taken(said, scene) for said, _ in described(claim)]
        ways = [way for way in product(*taken) if len(set(way)) == len(way)] or list(
            product(*taken)
        )
        chosen = random.choice([way for way in ways if _holds(claim, scene, way)] or ways)
        return [scene.things[place] for place in chosen]

    def _taken(self, said: Description, scene: Scene) -> list[int]:
        """The objects that a description is true of; if none, those it may have been of."""
        places = list(range(len(scene.things)))
        if found := said.referents(scene):
            return found
        shaped = [n for n in places if scene.things[n].shape == said.shape]
        coloured = [n for n in places if self._alike and scene.things[n].colour == said.colour]
        return shaped or coloured or places


def _mislead(claim: Claim, scene: Scene, meant: list[Thing], random: Random) -> None:
    """Exchange one object for one that its phrase does not describe."""
    place = random.randrange(len(meant))
    said = [one for one, _ in described(claim)][place]
    fitting = said.referents(scene)
    others = [thing for number, thing in enumerate(scene.things) if number not in fitting]
    if others:
        meant[place] = random.choice(others)


def _holds(claim: Claim, scene: Scene, way: Sequence[int]) -> bool:
    """Whether the objects lie as it is said."""
    if isinstance(claim, Related):
        return claim.relation in scene.relations(*way)
    if isinstance(claim, Located):
        return lies(scene.things[way[0]], claim.location, scene.side)
    return True
