"""A judge that knows the drawn scenes: it counts what captions say rightly and wrongly."""

from collections.abc import Iterable, Iterator

from vlground.contracts import Judge, JudgeRequest, Shows, Verdict
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import parse
from vlground.data.shapes.scene import Scene
from vlground.errors import VlgroundError
from vlground.judging.answer import error
from vlground.judging.usage import Usage


class ShapesOracle(Judge):
    """Scores a caption as one would who checks each sentence against the picture (ours).

        balance = right - wrong_cost · wrong - repeat_cost · repeated - unparsed_cost · unparsed
        score   = 4.5 · (1 + balance / (1 + |balance|)), 0 without a sentence

    Right and wrong are the different sentences whose claim is true of the scene, or makes an error
    of any type. What a caption says again is neither: it is repeated. What cannot be read is
    unparsed: of that the judge knows nothing, so by default it counts nothing, and is told in the
    justification. The score only fits the balance into 0-9; ranks are those of the balance. Beside
    true captions the one that tells more is better; a caption that says nothing is the worst, as in
    `judge.prompt=preference`.

    The other captions, and the order in which they stand, are not read.

    Args:
        wrong_cost: What a wrong sentence takes away, in right ones, from 0 on.
        repeat_cost: What a repeated sentence takes away.
        unparsed_cost: What a sentence that cannot be read takes away.

    Raises:
        VlgroundError: If a cost is negative.
    """

    shows: Shows = "photo"
    highest = 9
    version = 1

    def __init__(
        self, wrong_cost: float = 1.0, repeat_cost: float = 0.0, unparsed_cost: float = 0.0
    ) -> None:
        costs = {"wrong_cost": wrong_cost, "repeat_cost": repeat_cost}
        costs["unparsed_cost"] = unparsed_cost
        for name, cost in costs.items():
            if not cost >= 0:
                raise VlgroundError(f"judge.{name}={cost}: expected 0 or more")
        self._wrong, self._repeated, self._unparsed = wrong_cost, repeat_cost, unparsed_cost
        self.usage = Usage()

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Answer requests in order.

        Args:
            requests: Whose `sample` is the scene, with the caption as its text, a sentence a line.

        Raises:
            VlgroundError: An image is of another world.
        """
        for request in requests:
            if request.sample is None:
                verdict = error("not known what is shown")
            else:
                scene = scene_of(request.sample.image_id)
                verdict = self._verdict(scene, request.sample.text.splitlines())
            self.usage.add(verdict)
            yield request, verdict

    def _verdict(self, scene: Scene, sentences: list[str]) -> Verdict:
        if not sentences:
            return Verdict("score", 0.0, justification="It says nothing.")
        said = {}  # different sentences: those that can be read in the words of their claim
        for sentence in sentences:
            claim = parse(sentence)
            said[sentence.strip() if claim is None else claim.text] = claim
        read = [claim for claim in said.values() if claim is not None]
        wrong = sum(bool(claim.errors(scene)) for claim in read)
        right, unparsed = len(read) - wrong, len(said) - len(read)
        repeated = len(sentences) - len(said)
        balance = right - self._wrong * wrong - self._repeated * repeated
        balance -= self._unparsed * unparsed
        told = f"{right} right, {wrong} wrong, {repeated} repeated, {unparsed} not read"
        score = 4.5 * (1 + balance / (1 + abs(balance)))
        return Verdict("score", score, justification=f"{told}: balance {balance:g}.")
