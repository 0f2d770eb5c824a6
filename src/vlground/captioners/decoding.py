"""Writes candidates with a network of transformers: images and prompt are read once."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlground.errors import VlgroundError

# Logits (r, vocabulary) and a position -> r tokens and their log-probabilities.
Choose = Callable[[Tensor, int], tuple[Tensor, Tensor]]
# Of a candidate: tokens without the end token, their log-probabilities, whether it ended.
Written = tuple[list[int], list[float], bool]


class Record:
    """What is written, token by token.

    Args:
        ends: Ids of tokens that end a text.
        rows: How many are written.
    """

    def __init__(self, ends: Sequence[int], rows: int) -> None:
        self._ends, self._rows = frozenset(ends), rows
        self._tokens: list[list[int]] = []
        self._known: list[list[float]] = []
        self._open = set(range(rows))

    @property
    def length(self) -> int:
        """Tokens so far."""
        return len(self._tokens)

    @property
    def finished(self) -> bool:
        """Whether all have ended."""
        return not self._open

    def add(self, tokens: Tensor, log_probabilities: Tensor) -> None:
        """Add a token to every row; those that have ended ignore it."""
        self._tokens.append(tokens.tolist())
        self._known.append(log_probabilities.tolist())
        self._open -= {row for row in self._open if self._tokens[-1][row] in self._ends}

    def read(self) -> list[Written]:
        """All rows, each up to its end."""
        return [self._read(row) for row in range(self._rows)]

    def _read(self, row: int) -> Written:
        tokens = [one[row] for one in self._tokens]
        known = [one[row] for one in self._known]
        for place, token in enumerate(tokens):
            if token in self._ends:
                return tokens[:place], known[:place], True
        return tokens, known, False


@torch.inference_mode()
def write_shared(
    network: Any,  # noqa: ANN401 - of transformers
    inputs: Mapping[str, Tensor],
    copies: int,
    choose: Choose,
    ends: Sequence[int],
    longest: int,
) -> list[Written]:
    """Read each image and prompt once; all its candidates continue from what is kept of them.

    Args:
        network: Without an encoder: it continues from keys and values alone.
        inputs: Of `b` images with their prompts, all of one shape, so that nothing is padded.
        copies: Candidates of an image.
        choose: Of the `b * copies` candidates, image by image.
        ends: Ids of tokens that end a text.
        longest: In tokens.

    Raises:
        VlgroundError: If the network keeps no keys and values that can be continued from.
    """
    from transformers import Cache

    takes = inspect.signature(network.forward).parameters
    last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}  # most have it, some do not
    found = network(**inputs, use_cache=True, **last)
    cache, logits = found.get("past_key_values"), found.logits[:, -1]
    if not isinstance(cache, Cache):
        told = "this model keeps nothing to continue from; expected repeated"
        raise VlgroundError(f"model.prefix=shared: {told}")
    cache.batch_repeat_interleave(copies)
    logits = logits.repeat_interleave(copies, dim=0)
    record = Record(ends, len(logits))
    for position in range(longest):
        tokens, known = choose(logits.float(), position)
        record.add(tokens, known)
        if record.finished or position == longest - 1:
            break
        found = network(input_ids=tokens[:, None], past_key_values=cache, use_cache=True)
        logits = found.logits[:, -1]
    return record.read()


@torch.inference_mode()
def write_repeated(
    network: Any,  # noqa: ANN401 - of transformers
    inputs: Mapping[str, Tensor],
    choose: Choose,
    ends: Sequence[int],
    longest: int,
) -> list[Written]:
    """Let transformers' `generate` read image and prompt once a candidate.

    Args:
        network: Of any kind.
        inputs: A row a candidate.
        choose: See `write_shared`.
        ends: Likewise.
        longest: Likewise.
    """
    from transformers import LogitsProcessorList

    record = Record(ends, len(inputs["input_ids"]))

    def step(_: Tensor, scores: Tensor) -> Tensor:
        tokens, known = choose(scores.float(), record.length)
        record.add(tokens, known)
        # What was chosen is the only one left, so generate takes it.
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)

    network.generate(
        **inputs,
        do_sample=False,
        num_beams=1,
        max_new_tokens=longest,
        eos_token_id=list(ends),
        pad_token_id=ends[0],
        logits_processor=LogitsProcessorList([step]),
    )
    return record.read()
