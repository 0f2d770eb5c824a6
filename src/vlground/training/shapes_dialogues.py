"""Dialogues about drawn scenes: captions with planted errors, and questions with their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from vlground.data.existence import article, question_about
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import LOCATIONS, NUMBERS, lies
from vlground.data.shapes.render import render
from vlground.data.shapes.scene import (
    COLOURS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    generator,
)
from vlground.data.shapes.writing import PARTNERS, write_caption
from vlground.training.dialogues import Dialogue

# MME's and LLaVA's, which a model should read as nothing new.
SUFFIXES = ("", " Please answer yes or no.", " Answer the question using a single word or phrase.")
Kind = Literal["existence", "colour", "position", "count"]
_KINDS: dict[Kind, float] = {"existence": 0.5, "colour": 0.15, "position": 0.15, "count": 0.2}


@dataclass(frozen=True)
class ShapesDialogues(Sequence[Dialogue]):
    """A caption a scene, or questions about it; each depends on (seed, number) alone.

    Scenes are those of dataset=shapes_captions, split train.

    Attributes:
        seed: Of everything.
        samples: How many scenes.
        prompt: What a caption answers; None: questions are asked that yes or no answers, about
            what is there (half of them), its colour, its place and how often it is there.
        errors: Error type -> share of sentences that make it; what a model learns from them it
            says itself. Not read of questions.
        partners: See the data set.
        habit: See `write_caption`; answers to questions have no such habit.
        sentences: Smallest and largest number, of a caption.
        questions: About a scene, one after the other; fewer where the same would be asked in the
            same words. All are of one kind: who asks for a place tells that the shape is there.
    """

    seed: int
    samples: int
    prompt: str | None = None
    errors: Mapping[str, float] | None = None
    partners: float = 0.5
    habit: float = 0.0
    sentences: tuple[int, int] = (2, 6)
    questions: int = 1

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - a slice gives a list
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self.samples))]
        if not 0 <= index < self.samples:
            raise IndexError(index)
        scene = scene_of(f"shapes_captions/train/in/96/{float(self.partners)}/{self.seed}/{index}")
        image = render(scene)
        if self.prompt is None:
            random = generator("question", scene.name)
            kind = draw_kind(random)
            asked = dict(ask(scene, random, kind) for _ in range(self.questions))
            (question, answer), *further = asked.items()
            return Dialogue(f"{scene.name}/question", image, question, answer, tuple(further))
        random, (fewest, most) = generator("training caption", scene.name), self.sentences
        said = write_caption(scene, random, self.errors, (fewest, most), self.habit)
        return Dialogue(scene.name, image, self.prompt, " ".join(claim.text for claim in said))


def draw_kind(random: Random) -> Kind:
    """What is asked about, as often as `_KINDS` says."""
    (kind,) = random.choices(list(_KINDS), list(_KINDS.values()))
    return kind


def ask(scene: Scene, random: Random, kind: Kind | None = None) -> tuple[str, str]:
    """A question about a scene, which is as often true as not, and `Yes` or `No`.

    Args:
        scene: What it is about.
        random: The only source of chance.
        kind: What is asked about; None: it is drawn.
    """
    kind = kind or draw_kind(random)
    thing, truth = random.choice(scene.things), random.random() < 0.5
    if kind == "position":
        question, truth = _position(scene, thing, truth, random)
    elif kind == "count":
        question, truth = _count(scene, thing, truth, random)
    elif kind == "colour":
        question, truth = _colour(scene, thing, truth, random)
    else:
        question, truth = _existence(scene, thing, truth, random)
    return question + random.choice(SUFFIXES), "Yes" if truth else "No"


def _existence(scene: Scene, thing: Thing, truth: bool, random: Random) -> tuple[str, bool]:
    """POPE's; what is not there is as often a partner of what is as any other shape."""
    there = {one.shape for one in scene.things}
    absent = [shape for shape in SHAPES if shape not in there]
    partners = [shape for shape in absent if PARTNERS[shape] in there]
    if truth or not absent:
        return question_about(thing.shape), True
    expected = partners if partners and random.random() < 0.5 else absent
    return question_about(random.choice(expected)), False


def _colour(scene: Scene, thing: Thing, truth: bool, random: Random) -> tuple[str, bool]:
    others = [c for c in COLOURS if (c, thing.shape) not in {*scene.pairs, *HELD_OUT}]
    colour = thing.colour if truth or not others else random.choice(others)
    said = f"Is there {article(colour)} {colour} {thing.shape} in the image?"
    return said, (colour, thing.shape) in scene.pairs


def _count(scene: Scene, thing: Thing, truth: bool, random: Random) -> tuple[str, bool]:
    many = sum(one.shape == thing.shape for one in scene.things)
    wrong = [number for number in (1, 2, 3) if number != many]
    number = many if truth and many <= len(NUMBERS) else random.choice(wrong)
    noun = thing.shape if number == 1 else plural(thing.shape)
    verb = "Is" if number == 1 else "Are"
    question = f"{verb} there {NUMBERS[number - 1]} {noun} in the image?"
    return question, number == many


def _position(scene: Scene, thing: Thing, truth: bool, random: Random) -> tuple[str, bool]:
    """Where an object lies, or how to another one, if its shape is there once; else its size."""
    alone = [n for n, one in enumerate(scene.things) if _alone(scene, one)]
    if len(alone) > 1 and random.random() < 0.5:
        one, other = random.sample(alone, 2)
        held = scene.relations(one, other)
        # That hardly anything is inside another is known without looking.
        wrong = [name for name in RELATIONS if name not in (*held, "inside")]
        if held or not truth:
            relation = random.choice(held if truth else wrong)
            named = (scene.things[one].shape, scene.things[other].shape)
            return f"Is the {named[0]} {relation} the {named[1]} in the image?", truth
    if alone:
        thing = scene.things[random.choice(alone)]
        clear = [name for name in LOCATIONS if lies(thing, name, scene.side, clearly=True)]
        away = [name for name in LOCATIONS if not lies(thing, name, scene.side)]
        if clear or not truth:
            place = random.choice(clear if truth else away)
            return f"Is the {thing.shape} {place}?", truth
    size = thing.size if truth else SIZES[1 - SIZES.index(thing.size)]
    there = any((one.shape, one.size) == (thing.shape, size) for one in scene.things)
    return f"Is there a {size} {thing.shape} in the image?", there


def _alone(scene: Scene, thing: Thing) -> bool:
    return sum(one.shape == thing.shape for one in scene.things) == 1


def plural(shape: str) -> str:
    """More than one of a shape."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"
