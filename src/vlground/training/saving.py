"""Trained weights as transformers reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlground.whole import one_line_on_failure


def part_of(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one part, by their names in it.

    >>> part_of({"network.a.b": torch.zeros(1), "heads.a": torch.zeros(1)}, "network")
    {'a.b': tensor([0.])}
    """
    prefix = f"{name}."
    return {key.removeprefix(prefix): w for key, w in state.items() if key.startswith(prefix)}


def save_pretrained(
    network: Any,  # noqa: ANN401 - of transformers
    processor: Any,  # noqa: ANN401
    state: Mapping[str, Tensor],
    dtype: torch.dtype,
    folder: Path,
) -> None:
    """Write a network and its processor into a folder.

    Args:
        network: Whose configuration is written.
        processor: Of the network; it will pad on the left, as generation asks for.
        state: Weights.
        dtype: Of what is written.
        folder: Is made.

    Raises:
        VlgroundError: If the folder cannot be written.
    """
    written = {n: w.to(dtype) if w.is_floating_point() else w for n, w in state.items()}
    processor.tokenizer.padding_side = "left"
    with one_line_on_failure(folder):
        network.save_pretrained(folder, state_dict=written)
        processor.save_pretrained(folder)
