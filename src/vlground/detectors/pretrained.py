"""Detectors of transformers and their processors, from a folder or the hub."""

from typing import Any

import torch

from vlground.errors import VlgroundError


def load_detector(
    kind: Any,  # noqa: ANN401 - transformers types its classes in part only
    pretrained: str,
    revision: str | None,
    dtype: torch.dtype,
) -> tuple[Any, Any]:
    """Read a network and its processor.

    Args:
        kind: Class of transformers.
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub.
        dtype: Of the weights.

    Raises:
        VlgroundError: If there is none, it cannot be read, or tensors are missing or of another
            shape.
    """
    from transformers import AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()  # in the middle of a sweep's lines
    option = f"detector.pretrained={pretrained}"
    try:
        processor = AutoProcessor.from_pretrained(pretrained, revision=revision)
        network, report = kind.from_pretrained(
            pretrained,
            revision=revision,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by their names
        )
    except Exception as error:  # every reader has its own for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise VlgroundError(f"{option}: no detector with a processor there: {reason}") from error
    for complaint in ("missing", "mismatched"):
        names = sorted(map(str, report[f"{complaint}_keys"]))
        if names:
            told = f"{complaint}: {', '.join(names[:5])}"
            raise VlgroundError(f"{option}: not {kind.__name__}; {told}")
    if not processor.tokenizer.is_fast:
        raise VlgroundError(f"{option}: its tokenizer does not know where tokens stand")
    return network.eval().requires_grad_(False), processor
