"""How likely a network finds captions that are true."""

from collections.abc import Sequence
from typing import Any

import torch

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.training.collation import Collator
from vlground.training.dialogues import Dialogue
from vlground.training.objective import answer_losses

_UNREADABLE = "unreadable image"


@torch.no_grad()
def caption_rows(
    network: Any,  # noqa: ANN401 - of transformers
    collate: Collator,
    samples: Sequence[Sample],
    prompt: str,
    device: torch.device,
) -> list[dict[str, Any]]:
    """One row a sample: the loss of its text as an answer, in nats a token.

    Args:
        network: An image-text-to-text model.
        collate: Of its processor.
        samples: Their texts are captions; those whose image cannot be read are skipped.
        prompt: What the captions answer.
        device: Of the network.
    """
    rows = []
    for sample in samples:
        try:
            batch = collate([Dialogue(sample.id, sample.image, prompt, sample.text)])
        except VlgroundError:
            rows.append(_row(sample, _UNREADABLE))
            continue
        losses, tokens = answer_losses(network, batch.to(device, network.dtype))
        rows.append(_row(sample, None, float(losses[0] / tokens[0]), int(tokens[0])))
    return rows


def _row(
    sample: Sample, skipped: str | None, loss: float = float("nan"), tokens: int = 0
) -> dict[str, Any]:
    told = {"id": sample.id, "image_id": sample.image_id, "text": sample.text}
    flag = None if skipped else ""
    nothing = {"truncated": None, "foil_truncated": None, "degenerate": False}
    return {**told, "loss": loss, "tokens": tokens, **nothing, "flag": flag, "skipped": skipped}
