"""What asking has cost."""

from collections import Counter
from dataclasses import dataclass, field

from vlground.contracts import Verdict


@dataclass
class Usage:
    """Counts of what became of requests, and what they cost.

    Attributes:
        price_in: For a million tokens of requests, in any currency; None: not known.
        price_out: For a million tokens of answers.
        scores: Requests that got a score now.
        cached: Requests that had got one earlier: nobody was asked.
        refusals: By reason.
        errors: By reason.
        models: Ids that answered, cached answers included -> how often.
        tokens_in: Of the answers that came now and say so, errors and refusals included.
        tokens_out: Likewise.
        calls: Requests that were sent, repeated ones included.
    """

    price_in: float | None = None
    price_out: float | None = None
    scores: int = 0
    cached: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        if verdict.model is not None:
            self.models[verdict.model] += 1
        if verdict.cached:
            self.cached += 1
            return
        self.tokens_in += verdict.tokens_in or 0
        self.tokens_out += verdict.tokens_out or 0
        if verdict.outcome == "score":
            self.scores += 1
        else:
            counts = self.refusals if verdict.outcome == "refusal" else self.errors
            counts[verdict.reason] += 1

    @property
    def cost(self) -> float | None:
        """What the tokens cost; None without prices.

        >>> Usage(price_in=0.5, price_out=2.0, tokens_in=1_000_000, tokens_out=500_000).cost
        1.5
        """
        if self.price_in is None or self.price_out is None:
            return None
        return (self.tokens_in * self.price_in + self.tokens_out * self.price_out) / 1e6
