"""Attention Grad-CAM: what the text looks at in the image, weighed by what that does to the score.

The recipe by which ALBEF, BLIP (LAVIS) and AMC ground phrases.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from vlground.cams.gradient import Tokens, check_option, choose_layer, choose_tokens
from vlground.contracts import CAM, Encoded, Kind, Scorer
from vlground.data.sample import Sample
from vlground.gradients import differentiate

Heads = Literal["mean", "max", "sum"]
GradientSign = Literal["positive", "signed", "absolute", "none"]


class AttentionGradCAM(CAM):
    """`mean over heads and tokens of A · ReLU(∂s/∂A)` of one cross-attention.

    ALBEF (Li et al. 2021, appendix, and its `Grounding.py`), LAVIS's `compute_gradcam` of BLIP and
    AMC (Yang et al. 2023) differ in the tokens: LAVIS averages `words`, ALBEF and AMC average
    `all`. Both of them divide by the padded length, which only scales a map. Under `words` a map is
    0, which counts as degenerate, of a text without any, and at a model's last cross-attention:
    after it only the first token reaches the score.

    Args:
        layer: Name of the cross-attention; None: the scorer's default, or its last. ALBEF and AMC
            read block 8, LAVIS by default block 6.
        heads: How the heads' products become one: `mean` (all three); `max` and `sum` are ours.
        tokens: Whose attention is averaged, see `choose_tokens`.
        gradient: `positive`: the gradient's positive part, as in all three. Ours: `signed`, the
            map's positive part instead, as in HiResCAM; `absolute`; `none`: attention itself.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"cross_attention"})

    def __init__(
        self,
        layer: str | int | None = None,
        heads: Heads = "mean",
        tokens: Tokens = "all",
        gradient: GradientSign = "positive",
    ) -> None:
        super().__init__()
        check_option("heads", heads, "mean", "max", "sum")
        check_option("tokens", tokens, "all", "words", "first")
        check_option("gradient", gradient, "positive", "signed", "absolute", "none")
        self.layer = layer
        self.heads = heads
        self.tokens = tokens
        self.gradient = gradient

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        layer = choose_layer(scorer, self.needs, self.layer)
        (attention,), (gradient,) = differentiate(scorer, [layer], encoded, texts, owner)
        assert layer.token_mask is not None
        maps = attention_maps(
            attention,
            gradient,
            layer.token_mask,
            layer.grid,
            self.heads,
            self.tokens,
            self.gradient,
            layer.end_token,
        )
        return maps.relu()


def attention_maps(
    attention: Tensor,
    gradient: Tensor,
    token_mask: Tensor,
    grid: tuple[int, int],
    heads: Heads = "mean",
    tokens: Tokens = "all",
    gradient_sign: GradientSign = "positive",
    end_token: bool = True,
) -> Tensor:
    """Maps of one cross-attention, differentiable: a loss on them can train the model (AMC).

    Args:
        attention: Probabilities `(q, heads, t, n)`; the last `gh * gw` of n are the image's cells.
        gradient: Of the score with respect to them, of the same shape.
        token_mask: `(q, t)` bool, true for the tokens of each text.
        grid: `(gh, gw)`.
        heads: See `AttentionGradCAM`; heads are fused before tokens are averaged.
        tokens: Likewise.
        gradient_sign: Its `gradient`.
        end_token: See `TargetLayer`.

    Returns:
        `(q, gh, gw)`, not negative unless `signed`.
    """
    cells = grid[0] * grid[1]
    product = attention[..., -cells:] * _signed(gradient[..., -cells:], gradient_sign)
    if heads == "max":
        fused = product.amax(dim=1)
    else:
        fused = product.mean(dim=1) if heads == "mean" else product.sum(dim=1)
    counts = choose_tokens(token_mask, tokens, end_token).to(fused)
    total = (fused * counts[:, :, None]).sum(dim=1)
    return (total / counts.sum(dim=1, keepdim=True).clamp(min=1)).unflatten(1, grid)


def _signed(gradient: Tensor, sign: GradientSign) -> Tensor | float:
    if sign == "positive":
        return gradient.relu()
    if sign == "absolute":
        return gradient.abs()
    return gradient if sign == "signed" else 1.0
