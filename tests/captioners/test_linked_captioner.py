"""Planted captions with links: texts stay, and links are those of what is meant."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from vlground.captioners.linked import LinkedCaptioner
from vlground.captioners.planted import PlantedCaptioner
from vlground.contracts import Caption, Captioner
from vlground.data.links import linked_boxes, part, unlinked
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import Located, Related, lies, parse
from vlground.data.shapes.links import described, mislinked
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split

DATA = ShapesCaptions(60, "test", "in", "plain", 96, seed=0)
SAMPLES = [DATA[index] for index in range(len(DATA))]
ERRORS = dict.fromkeys(("hallucination", "attribute", "relationship", "location"), 0.15)
PLANTED = PlantedCaptioner(ERRORS)


def written(captioner: Captioner) -> list[list[str]]:
    rows = captioner.caption(SAMPLES, [""] * len(SAMPLES), 3, seed=0)
    return [[caption.text for caption in row] for row in rows]


def sentences(captioner: Captioner) -> list[tuple[Sample, str]]:
    pairs = zip(SAMPLES, written(captioner), strict=True)
    return [(s, one.text) for s, row in pairs for text in row for one in split(text)]


def test_texts_are_those_of_the_captioner() -> None:
    linked = written(LinkedCaptioner(PLANTED, wrong=0.5))
    assert [[unlinked(text) for text in row] for row in linked] == written(PLANTED)


def test_right_sentences_are_linked_to_what_they_are_about() -> None:
    about = 0
    for sample, sentence in sentences(LinkedCaptioner(PLANTED)):
        scene, claim = scene_of(sample.image_id), parse(sentence)
        assert claim is not None
        ends = [end for _, end in described(claim)]
        assert list(part(sentence).links) == ends
        if claim.errors(scene):
            continue
        assert not mislinked(sentence, scene)
        boxes = [tuple(box) for box in linked_boxes(sentence).tolist()]
        places = [[thing.box for thing in scene.things].index(box) for box in boxes]
        if isinstance(claim, Related):
            about += 1
            assert claim.relation in scene.relations(*places)
        if isinstance(claim, Located):
            about += 1
            assert lies(scene.things[places[0]], claim.location, scene.side)
    assert about > 50


def test_links_of_what_is_not_there_are_of_what_could_be_taken_for_it() -> None:
    coloured = {"alike": 0, "any": 0}
    for absent in ("alike", "any"):
        for sample, sentence in sentences(LinkedCaptioner(PLANTED, absent=absent)):
            scene, claim = scene_of(sample.image_id), parse(sentence)
            assert claim is not None
            boxes = [tuple(box) for box in linked_boxes(sentence).tolist()]
            for (said, _), box in zip(described(claim), boxes, strict=True):
                (thing,) = (one for one in scene.things if one.box == box)
                if any(one.shape == said.shape for one in scene.things):
                    assert thing.shape == said.shape
                elif said.colour in [one.colour for one in scene.things]:
                    coloured[absent] += thing.colour == said.colour
                    assert absent == "any" or thing.colour == said.colour
    assert coloured["alike"] > coloured["any"] > 0


def test_wrong_links_are_as_many_as_they_should_be_and_in_right_sentences_alone() -> None:
    plain = dict.fromkeys([True, False], 0)
    for sample, sentence in sentences(LinkedCaptioner(PLANTED, wrong=0.3)):
        scene, claim = scene_of(sample.image_id), parse(sentence)
        assert claim is not None
        if not claim.errors(scene) and list(described(claim)):
            plain[mislinked(sentence, scene)] += 1
    share = plain[True] / sum(plain.values())
    assert 0.22 < share < 0.36  # of about 330 sentences; a scene of one kind of object has no other
    right = sentences(LinkedCaptioner(PLANTED))
    wrong = sentences(LinkedCaptioner(PLANTED, wrong=0.3))
    for (sample, one), (_, other) in zip(right, wrong, strict=True):
        claim = parse(one)
        assert claim is not None
        if claim.errors(scene_of(sample.image_id)):
            assert one == other


def test_a_wrong_link_is_of_an_object_that_its_phrase_does_not_describe() -> None:
    seen = 0
    for sample, sentence in sentences(LinkedCaptioner(PLANTED, wrong=1.0)):
        scene, claim = scene_of(sample.image_id), parse(sentence)
        assert claim is not None
        told = [said for said, _ in described(claim)]
        others = all(len(said.referents(scene)) < len(scene.things) for said in told)
        if told and others and not claim.errors(scene):
            seen += 1
            assert mislinked(sentence, scene)
    assert seen > 100


def test_a_candidate_depends_on_its_number_and_not_on_those_before() -> None:
    captioner = LinkedCaptioner(PLANTED, wrong=0.3)
    prompts = [""] * len(SAMPLES)
    later = captioner.caption(SAMPLES, prompts, 3, seed=0, first=2)
    assert [row[-1] for row in captioner.caption(SAMPLES, prompts, 3, 0)] == [r[0] for r in later]


class Says(Captioner):
    """Says what no claim is, or nothing."""

    counts: Mapping[str, int] = MappingProxyType({"unreadable": 2})

    def caption(self, samples, prompts, n, seed, first=0):  # type: ignore[no-untyped-def]
        return [[Caption("A cat sleeps. "), Caption("", problem="429")] for _ in samples]


def test_what_is_not_understood_stays_and_problems_stay_problems() -> None:
    captioner = LinkedCaptioner(Says())
    ((cat, failed),) = captioner.caption(SAMPLES[:1], [""], 2, seed=0)
    assert (cat.text, failed.text, failed.problem) == ("A cat sleeps. ", "", "429")
    assert captioner.counts == {"unreadable": 2}


def test_options() -> None:
    with pytest.raises(VlgroundError, match=r"^model\.wrong=1\.5: expected 0 to 1$"):
        LinkedCaptioner(PLANTED, wrong=1.5)
    with pytest.raises(VlgroundError, match=r"^model\.absent=none: expected alike, any$"):
        LinkedCaptioner(PLANTED, absent="none")  # type: ignore[arg-type]
