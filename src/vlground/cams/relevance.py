"""Attention rollout and generic attention: relevance carried through every attention layer.

Both keep three matrices: R_tt from text tokens to text tokens, R_ti from text to image tokens, R_ii
from image to image tokens; and walk from input to output. They differ in what a layer does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vlground.cams.gradient import check_option, choose_tokens
from vlground.contracts import CAM, Encoded, Kind, Scorer, TargetLayer
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.gradients import Recording, differentiate

Fusion = Literal["mean", "max", "min"]


@dataclass
class Relevance:
    """Relevance of the tokens on the right to the tokens on the left; t = 0 without a text.

    Attributes:
        tt: `(q, t, t)`, text to text.
        ti: `(q, t, n)`, image to text.
        ii: `(q, n, n)`, image to image.
    """

    tt: Tensor
    ti: Tensor
    ii: Tensor

    @classmethod
    def before(cls, layers: Sequence[TargetLayer], averages: Sequence[Tensor]) -> "Relevance":
        """Before any attention every token is relevant to itself alone."""
        shapes = {layer.kind: one.shape for layer, one in zip(layers, averages, strict=True)}
        q, t, n = shapes.get("cross_attention") or (*shapes["self_attention"][:1], 0, 0)
        if "self_attention" in shapes:
            n = shapes["self_attention"][-1]
        like = averages[0]
        identity = [torch.eye(size).to(like).expand(q, -1, -1) for size in (t, n)]
        return cls(identity[0], like.new_zeros(q, t, n), identity[1])


class RelevanceCAM(CAM):
    """A CAM that carries relevance through the attention layers from input to output.

    Of a model with cross-attention the map is the row of the text's first token, [CLS] or [ENC],
    from which the score is read. Where the model does not offer its text- or self-attention, R_tt
    or R_ii stay the identity. Of other models it is the row of the class token, taken to be the
    first token that is none of the image's; of a model without one the mean of the image tokens'
    rows, which a mean over the tokens classifies by. Padding needs no care: no token attends to it.

    Args:
        start_layer: Layers before this one are left out. It counts the attention layers that the
            model offers, text, cross and self together, from input to output; -1 is the last.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"self_attention", "cross_attention"})

    def __init__(self, start_layer: int = 0) -> None:
        super().__init__()
        self.start_layer = start_layer

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class).

        Raises:
            VlgroundError: If the model has no such `start_layer`.
        """
        layers = _attention_layers(scorer)
        if not -len(layers) <= self.start_layer < len(layers):
            offers = f"the model offers {len(layers)} attention layers"
            raise VlgroundError(f"cam.start_layer={self.start_layer}: {offers}")
        averages = self.averages(scorer, layers, encoded, texts, owner)
        relevance = Relevance.before(layers, averages)
        walked = list(zip(layers, averages, strict=True))[self.start_layer :]
        for layer, average in walked:
            self._walk(relevance, layer.kind, average)
        return _read(relevance, layers)

    def averages(
        self,
        scorer: Scorer,
        layers: Sequence[TargetLayer],
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
    ) -> list[Tensor]:
        """One matrix `(q, to, from)` a layer, not negative, of all its heads."""
        raise NotImplementedError

    def within(self, average: Tensor) -> Tensor:
        """What relevance is multiplied with by attention `(q, n, n)` of tokens of one kind."""
        raise NotImplementedError

    def across(self, relevance: Relevance, average: Tensor) -> None:
        """Change R_tt and R_ti by attention `(q, t, n)` from text to image."""
        raise NotImplementedError

    def _walk(self, relevance: Relevance, kind: Kind, average: Tensor) -> None:
        if kind == "self_attention":
            relevance.ii = self.within(average) @ relevance.ii
        elif kind == "text_attention":
            step = self.within(average)
            relevance.tt, relevance.ti = step @ relevance.tt, step @ relevance.ti
        else:
            self.across(relevance, average)


class Rollout(RelevanceCAM):
    """Attention rollout (Abnar and Zuidema 2020, eq. 1): the layers' `(A + I) / 2`, multiplied.

    It asks the score nothing: no gradient is computed. Rows are divided by their sum, which is 2
    under `heads=mean`. Cross-attention is ours: text and image tokens are the nodes of one graph,
    in which a text token keeps half of itself and takes half from the image tokens.

    Args:
        heads: What stands for a layer's heads: `mean` (the paper), `max` or `min`.
        start_layer: See the base class; 0: the paper.
    """

    def __init__(self, heads: Fusion = "mean", start_layer: int = 0) -> None:
        super().__init__(start_layer)
        check_option("heads", heads, "mean", "max", "min")
        self.heads = heads

    def averages(
        self,
        scorer: Scorer,
        layers: Sequence[TargetLayer],
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
    ) -> list[Tensor]:
        """See the base class."""
        with torch.inference_mode(False), torch.no_grad(), Recording(layers) as recording:
            scorer.score(encoded, texts, owner)
        attentions = [output.detach().float() for output in recording.outputs]
        if self.heads == "mean":
            return [attention.mean(dim=1) for attention in attentions]
        fused = torch.Tensor.amax if self.heads == "max" else torch.Tensor.amin
        return [fused(attention, dim=1) for attention in attentions]

    def within(self, average: Tensor) -> Tensor:
        """See the base class."""
        return (average + _identity(average)) / (1 + average.sum(dim=-1, keepdim=True))

    def across(self, relevance: Relevance, average: Tensor) -> None:
        """See the base class; R_tt is left as it is, since no R_ti depends on it."""
        total = 1 + average.sum(dim=-1, keepdim=True)
        relevance.ti = (relevance.ti + average @ relevance.ii) / total


class GenericAttention(RelevanceCAM):
    """Generic attention explainability (Chefer et al., ICCV 2021, eqs 5 to 11).

    A layer counts with `Ā = mean over heads of ReLU(∂s/∂A · A)` (eq. 5). Attention among tokens of
    one kind adds `Ā R` (eqs 6 and 7); from text to image it adds `R̄_ttᵀ Ā R̄_ii` to R_ti (eq. 10).
    Image tokens do not attend to text in BLIP and ALBEF, so R_it is 0 and eq. 11 adds nothing.

    Args:
        start_layer: See the base class; 0: the paper. The authors' CLIP notebook takes -1.
        normalise: Whether R̄ is R with the rows of `R - I` divided by their sum (eqs 8 and 9; a row
            of 0 stays one), or R itself.
    """

    def __init__(self, start_layer: int = 0, normalise: bool = True) -> None:
        super().__init__(start_layer)
        self.normalise = normalise

    def averages(
        self,
        scorer: Scorer,
        layers: Sequence[TargetLayer],
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
    ) -> list[Tensor]:
        """See the base class."""
        pairs = zip(*differentiate(scorer, layers, encoded, texts, owner), strict=True)
        return [(attention * gradient).relu().mean(dim=1) for attention, gradient in pairs]

    def within(self, average: Tensor) -> Tensor:
        """See the base class."""
        return average + _identity(average)

    def across(self, relevance: Relevance, average: Tensor) -> None:
        """See the base class."""
        tt, ii = self._normalised(relevance.tt), self._normalised(relevance.ii)
        relevance.ti = relevance.ti + tt.transpose(1, 2) @ average @ ii

    def _normalised(self, matrix: Tensor) -> Tensor:
        if not self.normalise:
            return matrix
        beyond = matrix - _identity(matrix)
        total = beyond.sum(dim=-1, keepdim=True)
        return beyond / torch.where(total > 0, total, 1.0) + _identity(matrix)


def _attention_layers(scorer: Scorer) -> list[TargetLayer]:
    """From input to output; a text that never meets the image in attention is left out."""
    layers = [layer for layer in scorer.target_layers if layer.kind != "features"]
    meets = any(layer.kind == "cross_attention" for layer in layers)
    return [layer for layer in layers if meets or layer.kind == "self_attention"]


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1]).to(like)


def _read(relevance: Relevance, layers: Sequence[TargetLayer]) -> Tensor:
    """`(q, gh, gw)` of the row from which the score is read."""
    for layer in reversed(layers):
        if layer.kind == "cross_attention":
            assert layer.token_mask is not None
            first = choose_tokens(layer.token_mask, "first").to(relevance.ti)
            row = (relevance.ti * first[:, :, None]).sum(dim=1)
            return row[:, -layer.grid[0] * layer.grid[1] :].unflatten(1, layer.grid)
    layer, mask = layers[-1], layers[-1].token_mask
    if mask is None or mask.all():
        return relevance.ii.mean(dim=1).unflatten(1, layer.grid)
    return relevance.ii[:, int(mask.int().argmin())][:, mask].unflatten(1, layer.grid)
