"""ALBEF's and AMC's official checkpoints: their names, and ours.

Only what matching does not use is left out. A file that is not unpacked, or that lacks a tensor,
would give maps that look like maps (ALBEF's issues 50 and 84), so nothing else is let pass.
"""

import re

import torch
from torch import Tensor, nn

from vlground.models.checkpoint import check_fit, read_tensors

# Momentum copies, contrastive learning and its queues, BERT's masked language model, constants.
_UNUSED = re.compile(
    r"(\w+_m|vision_proj|text_proj|text_encoder\.cls)\.|(temp|\w+_queue|queue_ptr\w*)$|.*position_ids$"
)
_OFFICIAL = (
    (r"^vision\.embeddings\.cls_token", "visual_encoder.cls_token"),
    (r"^vision\.embeddings\.position_embeddings", "visual_encoder.pos_embed"),
    (r"^vision\.embeddings\.patch_embeddings\.projection", "visual_encoder.patch_embed.proj"),
    (r"^vision\.layers\.(\d+)\.attention\.projection", r"visual_encoder.blocks.\1.attn.proj"),
    (r"^vision\.layers\.(\d+)\.attention\.qkv", r"visual_encoder.blocks.\1.attn.qkv"),
    (r"^vision\.layers\.(\d+)\.layernorm_before", r"visual_encoder.blocks.\1.norm1"),
    (r"^vision\.layers\.(\d+)\.layernorm_after", r"visual_encoder.blocks.\1.norm2"),
    (r"^vision\.layers\.(\d+)\.mlp", r"visual_encoder.blocks.\1.mlp"),
    (r"^vision\.norm", "visual_encoder.norm"),
    (r"^text\.layers", "text_encoder.encoder.layer"),
    (r"^text\.embeddings", "text_encoder.embeddings"),
)
_POSITIONS = "visual_encoder.pos_embed"


def load_albef(network: nn.Module, file: str) -> None:
    """Fill an `AlbefNetwork` from an official checkpoint; code inside a pickle is never run.

    Args:
        network: Its position embeddings may be for another image size than the file's, to which
            they are then interpolated as ALBEF does it (bicubic, corners not aligned).
        file: `.pth` of ALBEF (pre-trained or tuned for retrieval) or AMC, or `.safetensors` with
            the same names; BERT under `text_encoder` or `text_encoder.bert`.

    Raises:
        VlgroundError: If the file cannot be read, or its tensors are not those of the network.
    """
    tensors = read_tensors(file)
    used = {name: tensor for name, tensor in tensors.items() if not _UNUSED.match(name)}
    found = {name.replace("text_encoder.bert.", "text_encoder."): used[name] for name in used}
    wanted = official_state(network)
    if _POSITIONS in found:
        found[_POSITIONS] = resize_positions(found[_POSITIONS], wanted[_POSITIONS].shape[1])
    check_fit(found, wanted, file)
    ours = network.state_dict()
    network.load_state_dict({name: found[_official(name)] for name in ours})


def official_state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of an `AlbefNetwork` under the names of the official checkpoints."""
    return {_official(name): tensor for name, tensor in network.state_dict().items()}


def resize_positions(positions: Tensor, tokens: int) -> Tensor:
    """Interpolate position embeddings of a square grid to another one.

    Args:
        positions: `(1, 1 + cells, width)`, the class token's first.
        tokens: How many there are to be, the class token included.

    Returns:
        `(1, tokens, width)`; what it was given, if that is no square grid or already fits.
    """
    if positions.ndim != 3 or positions.shape[1] == tokens:
        return positions
    here, there = (round((count - 1) ** 0.5) for count in (positions.shape[1], tokens))
    if here * here + 1 != positions.shape[1]:
        return positions
    grid = positions[:, 1:].float().unflatten(1, (here, here)).permute(0, 3, 1, 2)
    resized = nn.functional.interpolate(grid, (there, there), mode="bicubic", align_corners=False)
    cells = resized.flatten(2).transpose(1, 2)
    return torch.cat((positions[:, :1].float(), cells), dim=1)


def _official(name: str) -> str:
    for ours, theirs in _OFFICIAL:
        name = re.sub(ours, theirs, name)
    return name
