"""MME's existence, count, position and color about drawn scenes (Fu et al., arXiv 2306.13394).

    scene A   Is there a star …?  yes     Is there a ring …?  no
    scene B   Is there a star …?  no      Is there a ring …?  yes

Two questions an image, one of each answer, as MME has them. Ours: two scenes exchange theirs. So
each question, and each pair of them, is answered as often in the one way as in the other, and who
does not look is right about half of the questions, whatever it knows of how scenes are drawn.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from vlground.data.existence import article, question_about
from vlground.data.sample import DataSet, Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import LOCATIONS, NUMBERS, Count, lies
from vlground.data.shapes.scene import COLOURS, SHAPES, Relation, Scene, generator
from vlground.errors import VlgroundError

_ENDING = " Please answer yes or no."  # of all questions of MME
_OPPOSITE: dict[Relation, Relation] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        text: In words.
        topic: Only questions of one topic are asked of one scene.
    """

    text: str
    topic: str = ""


# Question -> whether yes is right. What people could disagree about is not asked.
Answers = Mapping[Question, bool]


def existence(scene: Scene) -> Answers:
    """POPE's question, about every shape."""
    there = {thing.shape for thing in scene.things}
    return {Question(question_about(shape)): shape in there for shape in SHAPES}


def count(scene: Scene) -> Answers:
    """Whether there are two stars, or more; no: there are fewer, but at least one."""
    many = Counter(thing.shape for thing in scene.things)
    return {
        Question(f"Are there {_plural(shape, number)} in the image?"): many[shape] == number
        for shape in many
        for number in range(2, len(NUMBERS) + 1)
        if many[shape] <= number  # who sees three stars may say that there are two
    }


def relation(scene: Scene) -> Answers:
    """How two shapes lie, each the only one of its kind; no: the opposite is true."""
    alone = _alone(scene)
    found: dict[Question, bool] = {}
    for one, other in permutations(sorted(alone), 2):
        for held in scene.relations(alone[one], alone[other]):
            if held not in _OPPOSITE:
                continue
            topic = f"{one}, {other}: {min(held, _OPPOSITE[held])}"
            for said, true in ((held, True), (_OPPOSITE[held], False)):
                found[Question(f"Is the {one} {said} the {other} in the image?", topic)] = true
    return found


def location(scene: Scene) -> Answers:
    """Where a shape lies that is the only one of its kind; near a border nothing is asked."""
    found: dict[Question, bool] = {}
    for shape, number in _alone(scene).items():
        thing = scene.things[number]
        for name in LOCATIONS:
            clearly = lies(thing, name, scene.side, clearly=True)
            if clearly or not lies(thing, name, scene.side):
                found[Question(f"Is the {shape} {name}?", shape)] = clearly
    return found


def color(scene: Scene) -> Answers:
    """Whether a shape is there in a colour; no: it is there in others."""
    pairs = set(scene.pairs)
    return {
        Question(f"Is there {article(name)} {name} {shape} in the image?", shape): there
        for shape in sorted({shape for _, shape in pairs})
        for name in COLOURS
        for there in [(name, shape) in pairs]
    }


# Scenes that cannot exchange questions of the first kind do so with those of the next one.
SUBTASKS: Mapping[str, tuple[Callable[[Scene], Answers], ...]] = {
    "existence": (existence,),
    "count": (count,),
    "position": (relation, location),
    "color": (color,),
}


class ShapesQuestions:
    """Two questions a scene and subtask, as samples `<subtask>/<number>`: 2k and 2k + 1.

    A scene exchanges questions with the first one before it that waits for such a scene: a question
    of each is answered by yes in its own scene and by no in the other. Which ones is drawn from
    (seed, subtask, both scenes).

    Args:
        source: Drawn scenes: dataset=shapes_captions.
        subtasks: Of `SUBTASKS`.
        seed: Of all draws.

    Attributes:
        skipped: Reason -> number of scenes without questions, of each subtask.

    Raises:
        VlgroundError: An option is impossible, an image is no drawn scene, or no two scenes can
            exchange questions.
    """

    def __init__(
        self, source: DataSet, subtasks: Sequence[str] = tuple(SUBTASKS), seed: int = 0
    ) -> None:
        unknown = [name for name in subtasks if name not in SUBTASKS]
        if unknown or not subtasks:
            expected = f"expected any of {', '.join(SUBTASKS)}"
            raise VlgroundError(f"dataset.subtasks={list(subtasks)}: {expected}")
        self.skipped: Counter[str] = Counter()
        images: dict[str, np.ndarray] = {}
        for index in range(len(source)):
            sample = source[index]
            images[sample.image_id] = np.asarray(sample.image)
        scenes = [scene_of(name) for name in images]
        asked: dict[str, list[Sample]] = {name: [] for name in images}
        for subtask in dict.fromkeys(subtasks):
            made = _exchanged(subtask, scenes, seed)
            numbered = [(scene, text, yes) for scene, pair in made for text, yes in pair]
            for number, (scene, text, yes) in enumerate(numbered):
                label = "yes" if yes else "no"
                asked[scene].append(
                    Sample(f"{subtask}/{number}", scene, images[scene], text, label=label)
                )
            if len(scenes) > len(numbered) // 2:
                left = len(scenes) - len(numbered) // 2
                self.skipped[f"{subtask}: no scene to exchange questions with"] = left
        self._samples = [sample for samples in asked.values() for sample in samples]
        if not self._samples:
            told = "no two of its scenes can exchange questions; expected more"
            raise VlgroundError(f"dataset.source.samples={len(scenes)}: {told}")

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def _exchanged(
    subtask: str, scenes: Sequence[Scene], seed: int
) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Scenes that exchange questions, one after the other, each with its two texts and answers."""
    left = list(scenes)
    for ask in SUBTASKS[subtask]:
        waiting: dict[str, tuple[Scene, Answers]] = {}
        for scene in left:
            mine = ask(scene)
            for name, (_, theirs) in waiting.items():
                choices = _exchanges(theirs, mine)
                if choices:
                    random = generator("mme", seed, subtask, name, scene.name)
                    first, second = (one.text + _ENDING for one in random.choice(choices))
                    yield name, [(first, True), (second, False)]
                    yield scene.name, [(first, False), (second, True)]
                    del waiting[name]
                    break
            else:
                waiting[scene.name] = scene, mine
        left = [scene for scene, _ in waiting.values()]


def _exchanges(one: Answers, other: Answers) -> list[tuple[Question, Question]]:
    """Pairs of one topic: the first is true of the one scene alone, the second of the other."""
    firsts = [asked for asked, yes in one.items() if yes and other.get(asked) is False]
    seconds = [asked for asked, yes in other.items() if yes and one.get(asked) is False]
    return [(a, b) for a in firsts for b in seconds if a.topic == b.topic]


def _alone(scene: Scene) -> dict[str, int]:
    """Shapes of which there is one, and its place in the scene."""
    shapes = [thing.shape for thing in scene.things]
    return {shape: place for place, shape in enumerate(shapes) if shapes.count(shape) == 1}


def _plural(shape: str, number: int) -> str:
    """`two stars`, as captions say it."""
    return Count(shape, number).text.removeprefix("There are ").removesuffix(".")
