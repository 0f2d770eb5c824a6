"""Noise is SplitMix64's, and what it draws is distributed as the model says."""

import numpy as np
import pytest
import torch

from vlground.captioners.caption import candidate_key
from vlground.captioners.gumbel import _gumbel, _output, _shift, _signed, choose, gumbel_noise

MASK = (1 << 64) - 1
PUBLISHED = [  # SplitMix64 of the seed 1234567
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def plain_noise(candidate: int, position: int, size: int) -> np.ndarray:
    """With Python's integers and double precision."""
    key = _output(candidate, position)
    uniform = np.array([((_output(key, t) >> 11) + 0.5) * 2.0**-53 for t in range(size)])
    return -np.log(-np.log1p(-uniform))


def test_the_generator_is_splitmix64() -> None:
    assert [_output(1234567, number) for number in range(5)] == PUBLISHED


@pytest.mark.parametrize("bits", [0, 1, 1 << 63, MASK, 0x123456789ABCDEF0])
def test_shifting_brings_zeros_in(bits: int) -> None:
    assert int(_shift(torch.tensor([_signed(bits)]), 30)) == bits >> 30


def test_noise_is_the_same_with_plain_integers() -> None:
    keys = [candidate_key(0, "a", 0), candidate_key(7, "b", 3), MASK]
    noise = gumbel_noise(keys, 5, 100)
    for row, key in zip(noise, keys, strict=True):
        np.testing.assert_allclose(row.numpy(), plain_noise(key, 5, 100), rtol=2e-6, atol=2e-6)
    assert torch.equal(gumbel_noise(keys[1:2], 5, 40), noise[1:2, :40])
    assert not torch.equal(gumbel_noise(keys, 6, 100), noise)


def test_noise_is_finite_at_both_ends() -> None:
    """An infinite one would never be drawn, or always."""
    low, high = _gumbel(torch.tensor([-1, 0])).tolist()
    assert -3 < low < -2.8
    assert 37 < high < 38


def test_noise_is_gumbel_distributed_and_independent() -> None:
    keys = [candidate_key(0, "a", index) for index in range(50)]
    noise = torch.stack([gumbel_noise(keys, position, 400) for position in range(10)])
    assert noise.isfinite().all()
    assert float(noise.mean()) == pytest.approx(np.euler_gamma, abs=0.01)
    assert float(noise.var()) == pytest.approx(np.pi**2 / 6, abs=0.03)
    flat = noise - noise.mean()
    for axis in range(3):  # positions, candidates, tokens
        near = flat.narrow(axis, 1, noise.shape[axis] - 1)
        far = flat.narrow(axis, 0, noise.shape[axis] - 1)
        assert abs(float((near * far).mean())) < 0.02


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.6), (1.0, 0.3)])
def test_tokens_are_drawn_as_the_model_says(temperature: float, top_p: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, 1.5])
    count = 20000
    keys = [candidate_key(1, "a", index) for index in range(count)]
    tokens, known = choose(logits.expand(count, -1), keys, 0, temperature, top_p)
    expected = (logits / temperature).softmax(dim=-1)
    order = expected.argsort(descending=True)
    kept = 1 + int((expected[order].cumsum(0) < top_p).sum()) if top_p < 1 else 6
    nucleus = torch.zeros(6)
    nucleus[order[:kept]] = expected[order[:kept]]
    nucleus /= nucleus.sum()
    found = torch.bincount(tokens, minlength=6) / count
    assert (found[nucleus == 0] == 0).all()
    np.testing.assert_allclose(found, nucleus, atol=0.015)
    torch.testing.assert_close(known, logits.log_softmax(dim=-1)[tokens])  # of the model as it is


def test_top_p_is_that_of_transformers() -> None:
    from transformers import TopPLogitsWarper

    from vlground.captioners.gumbel import _nucleus

    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) * 3
    for top_p in (0.1, 0.5, 0.9, 0.999):
        theirs = TopPLogitsWarper(top_p)(torch.zeros(20, 1), logits)
        assert torch.equal(_nucleus(logits, top_p), theirs)


def test_without_temperature_the_likeliest_token_is_taken() -> None:
    logits = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    tokens, _ = choose(logits, [0, 1, 2, 3], 0, 0.0, 0.5)
    assert torch.equal(tokens, logits.argmax(dim=-1))
