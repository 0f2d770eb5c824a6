"""Sampling by the Gumbel-max trick with a counter-based generator.

argmax(logits / temperature + g), with g independent and Gumbel distributed, is a sample of
softmax(logits / temperature) (Gumbel 1954; Maddison et al. 2014, https://arxiv.org/abs/1411.0030).
Here g is a function of (candidate, position, token) alone. It is SplitMix64 (Steele et al. 2014,
https://doi.org/10.1145/2660193.2660195), whose integers are the same on every device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_ALL = (1 << 64) - 1
_LARGEST = 1 - 2**-24  # float32's below 1: the noise stays finite


def choose(
    logits: Tensor, candidates: Sequence[int], position: int, temperature: float, top_p: float
) -> tuple[Tensor, Tensor]:
    """Draw the next token of every candidate.

    Args:
        logits: `(r, vocabulary)` float32.
        candidates: `r` keys, see `candidate_key`.
        position: Of the token in the text, from 0.
        temperature: 0: the likeliest token, and no noise.
        top_p: Tokens are drawn from the likeliest ones that make up this probability (Holtzman et
            al. 2020, https://arxiv.org/abs/1904.09751), after the temperature.

    Returns:
        `(r,)` tokens, and `(r,)` log-probabilities of them without temperature and top-p.
    """
    drawn = logits
    if temperature > 0:
        drawn = logits / temperature
        if top_p < 1:
            drawn = _nucleus(drawn, top_p)
        drawn = drawn + gumbel_noise(candidates, position, logits.shape[1], logits.device)
    tokens = drawn.argmax(dim=-1)
    known = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
    return tokens, known


def gumbel_noise(
    candidates: Sequence[int], position: int, size: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Gumbel noise of the tokens at a position.

    Returns:
        `(r, size)` float32, finite. Column `t` does not depend on `size`.
    """
    keys = [_signed(_output(candidate, position)) for candidate in candidates]
    counters = torch.arange(1, size + 1, device=device) * _signed(_GOLDEN)
    return _gumbel(_mix(torch.tensor(keys, device=device)[:, None] + counters))


def _gumbel(bits: Tensor) -> Tensor:
    # Large noise, which wins, comes from small numbers: float32 is finest there.
    uniform = ((_shift(bits, 11) + 0.5) * 2.0**-53).to(torch.float32).clamp(max=_LARGEST)
    return -torch.log(-torch.log1p(-uniform))


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits, with -inf for all but the likeliest tokens that make up `top_p`."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    cut = probabilities.cumsum(dim=-1) - probabilities >= top_p
    return logits.masked_fill(cut.scatter(1, order, cut), -torch.inf)


def _output(seed: int, number: int) -> int:
    """The number-th output, from 0, of SplitMix64."""
    bits = (seed + (number + 1) * _GOLDEN) & _ALL
    bits = ((bits ^ (bits >> 30)) * _FIRST) & _ALL
    bits = ((bits ^ (bits >> 27)) * _SECOND) & _ALL
    return bits ^ (bits >> 31)


def _mix(bits: Tensor) -> Tensor:
    """The same of 64-bit integers, whose products wrap."""
    bits = (bits ^ _shift(bits, 30)) * _signed(_FIRST)
    bits = (bits ^ _shift(bits, 27)) * _signed(_SECOND)
    return bits ^ _shift(bits, 31)


def _shift(bits: Tensor, places: int) -> Tensor:
    """To the right, with zeros from the left: torch shifts the sign in."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits
