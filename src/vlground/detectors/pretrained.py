"""Detectors of transformers and their processors, from a folder or the hub."""

from typing import Any, Literal, get_args

import torch

from vlground.errors import VlgroundError

Dtype = Literal["float32", "bfloat16", "float16"]


def load_detector(
    kind: Any,  # noqa: ANN401 - transformers types its classes in part only
    pretrained: str,
    revision: str | None,
    dtype: Dtype,
    device: str | None,
) -> tuple[Any, Any]:
    """Read a network and its processor.

    Args:
        kind: Class of transformers.
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub.
        dtype: Of the weights.
        device: Where the network runs; None: a GPU if there is one.

    Raises:
        VlgroundError: If the dtype is another one, there is no such model, it cannot be read, or
            tensors are missing or of another shape.
    """
    from transformers import AutoProcessor
    from transformers.utils import logging

    if dtype not in get_args(Dtype):
        raise VlgroundError(f"detector.dtype={dtype}: expected {', '.join(get_args(Dtype))}")
    logging.disable_progress_bar()  # in the middle of a sweep's lines
    option = f"detector.pretrained={pretrained}"
    try:
        processor = AutoProcessor.from_pretrained(pretrained, revision=revision)
        network, report = kind.from_pretrained(
            pretrained,
            revision=revision,
            dtype=getattr(torch, dtype),
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
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return network.eval().requires_grad_(False).to(place), processor
