"""What the links of sentences about drawn scenes should be, and whether they are (ours)."""

from collections.abc import Iterator

from vlground.data.links import linked_boxes, part
from vlground.data.shapes.claims import Claim, Existence, Located, Related, parse
from vlground.data.shapes.language import Description
from vlground.data.shapes.scene import Scene


def described(claim: Claim) -> Iterator[tuple[Description, int]]:
    """What a claim describes, in the order of its words, and where each ends in its text.

    >>> [(said.text, end) for said, end in described(parse("The star is left of the red ring."))]
    [('the star', 8), ('the red ring', 32)]
    """
    end = 0
    for said in _parts(claim):
        words = said.text.partition(" ")[2]  # the article may be capital
        end = claim.text.index(words, end) + len(words)
        yield said, end


def mislinked(sentence: str, scene: Scene) -> bool:
    """Whether a link is the box of no object that its phrase describes.

    Args:
        sentence: With links behind phrases; one that `parse` does not know has no wrong link.
        scene: That it is about.
    """
    claim, found = parse(sentence), part(sentence.strip())
    if claim is None:
        return False
    for said, end in described(claim):
        true = [scene.things[place].box for place in said.referents(scene)]
        boxes = linked_boxes(found.links.get(end, "")).tolist()
        if any(tuple(box) not in true for box in boxes):
            return True
    return False


def _parts(claim: Claim) -> tuple[Description, ...]:
    if isinstance(claim, Related):
        return claim.subject, claim.anchor
    if isinstance(claim, Located):
        return (claim.subject,)
    return (claim.object,) if isinstance(claim, Existence) else ()
