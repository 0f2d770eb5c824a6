"""Networks and tokenizers of transformers, from a folder or the hub, exactly or not at all."""

from typing import Any

import torch

from vlground.errors import VlgroundError


def load_pretrained(
    kind: Any,  # noqa: ANN401 - transformers types its classes in part only
    what: str,
    pretrained: str,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Any:  # noqa: ANN401
    """Read a network; tensors that are missing, left over or of another shape are refused by name.

    Args:
        kind: Class of transformers.
        what: What it is called in messages.
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub.
        dtype: Of its weights.

    Returns:
        A `kind`.

    Raises:
        VlgroundError: If there is none, it cannot be read, or its tensors are others.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # in the middle of a sweep's lines
    option = f"model.pretrained={pretrained}"
    try:
        network, report = kind.from_pretrained(
            pretrained,
            revision=revision,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by their names
        )
    except OSError as error:
        told = f"not a folder of {what}, not in the hub's cache, and could not be fetched"
        raise VlgroundError(f"{option}: {told}") from error
    except Exception as error:  # every reader has its own for a damaged file
        raise VlgroundError(f"{option}: cannot be read: {_line(error)}") from error
    for complaint in ("missing", "unexpected", "mismatched"):
        names = sorted(map(str, report[f"{complaint}_keys"]))
        if names:
            told = f"{complaint}: {', '.join(names[:5])}"
            raise VlgroundError(f"{option}: not {what}; {told}")
    return network


def load_tokenizer(name: str | None, revision: str | None) -> Any:  # noqa: ANN401 - of any class
    """Read a tokenizer from a folder or the hub.

    Raises:
        VlgroundError: If there is none.
    """
    from transformers import AutoTokenizer

    if name is None:
        raise VlgroundError("model.tokenizer=null: random weights have none beside them; give one")
    try:
        return AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError, ImportError) as error:
        told = f"no tokenizer there, nor in the hub's cache: {_line(error)}"
        raise VlgroundError(f"model.tokenizer={name}: {told}") from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
