"""Grounding DINO of the package groundingdino-py, with its own configuration and checkpoint.

The package wraps transformers' BERT in a class that was written for transformers 4. Here another
one of the same parts, and so of the same names in a checkpoint, stands in for it.
"""

import ast
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vlground.contracts import Detection, Detector
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.detectors.caption_queries import CaptionQueries, Pool
from vlground.errors import VlgroundError

_SHORTER, _LONGER = 800, 1333  # pixels
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The published configurations save memory of gradients, which are not needed here.
_INFERENCE = {"use_checkpoint": False, "use_transformer_ckpt": False}


class GroundingDinoPackageDetector(Detector):
    """As `GroundingDinoDetector`, by the original code (extra `groundingdino`).

    Args:
        config: Python file of the package's kind, such as GroundingDINO_SwinT_OGC.py. Its
            assignments of plain values are read; nothing in it is executed.
        checkpoint: Its weights, `.pth`; tensors alone are loaded.
        text_encoder: Name on the hub, or a folder, of BERT and its tokenizer; None: the one that
            the configuration names.
        joint: See `CaptionQueries`.
        pool: See `CaptionQueries`.
        threshold: Boxes with a larger score are kept (0.25 in ViGoR).
        device: Where it runs; None: a GPU if there is one.

    Raises:
        VlgroundError: If the package is not there, an option does not fit, or a file is not of its
            kind.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        config: str,
        checkpoint: str,
        text_encoder: str | None = None,
        joint: bool = True,
        pool: Pool = "mean",
        threshold: float = 0.25,
        device: str | None = None,
    ) -> None:
        self._queries = CaptionQueries(joint, pool, threshold)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        options = read_config(Path(config).expanduser()) | _INFERENCE
        options["device"] = str(self.device)
        if text_encoder is not None:
            options["text_encoder_type"] = str(Path(text_encoder).expanduser())
        self.network = _build(options)
        _load(self.network, Path(checkpoint).expanduser())
        self.network.float().eval().requires_grad_(False).to(self.device)

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for phrases in images; see `GroundingDinoDetector.detect`."""
        return [
            self._detect(load_image(sample), asked)
            for sample, asked in zip(samples, phrases, strict=True)
        ]

    def _detect(self, image: Image.Image, asked: Sequence[str]) -> list[Detection]:
        forward = partial(self._forward, to_pixels(image)[None].to(self.device))
        # The package cuts at its own number, whatever max_text_len of the configuration is.
        longest = int(self.network.max_text_len)
        return self._queries.detect(asked, self.network.tokenizer, longest, image.size, forward)

    @torch.inference_mode()
    def _forward(self, pixels: Tensor, caption: str) -> tuple[Tensor, Tensor]:
        """Logits `(queries, tokens)`, -inf beyond the caption's, and boxes `(queries, 4)`."""
        found = self.network(pixels, captions=[caption])
        return found["pred_logits"][0].float(), found["pred_boxes"][0].float()


class BertText(nn.Module):
    """BERT whose tokens see those of their own phrase only, as the package calls it.

    Args:
        bert_model: Of transformers; its parts are kept under their names.
    """

    def __init__(self, bert_model: Any) -> None:  # noqa: ANN401 - of transformers
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder
        self.pooler = bert_model.pooler

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode captions.

        Args:
            input_ids: `(b, t)`.
            attention_mask: `(b, t, t)` or `(b, t)`, true where a token is seen.
            token_type_ids: `(b, t)`.
            position_ids: `(b, t)`, counted anew in each phrase.

        Returns:
            `last_hidden_state` `(b, t, width)`.
        """
        hidden = self.embeddings(
            input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids
        )
        seen = attention_mask.bool()
        seen = seen[:, None] if seen.ndim == 3 else seen[:, None, None]
        # Added to attention before softmax; every kind of attention of transformers takes that.
        hides = torch.zeros_like(seen, dtype=hidden.dtype)
        hides = hides.masked_fill(~seen, torch.finfo(hidden.dtype).min)
        found: Tensor = self.encoder(hidden, attention_mask=hides).last_hidden_state
        return {"last_hidden_state": found}


def to_pixels(image: Image.Image) -> Tensor:
    """`(3, height, width)`: the shorter side 800 pixels, the longer one at most 1333."""
    width, height = image.size
    shorter, longer = min(width, height), max(width, height)
    new = max(1, min(_SHORTER, round(_LONGER * shorter / longer)))
    far = int(new * longer / shorter)
    size = (new, far) if width < height else (far, new)
    values = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    pixels = torch.from_numpy(values).permute(2, 0, 1)
    return (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]


def read_config(path: Path) -> dict[str, Any]:
    """Assignments of plain values in a Python file.

    Raises:
        VlgroundError: If there is no such file, or something else is in it.
    """
    option = f"detector.config={path}"
    try:
        lines = ast.parse(path.read_text(encoding="utf-8")).body
        return {name: value for line in lines for name, value in _assignment(line)}
    except OSError as error:
        raise VlgroundError(f"{option}: no such file") from error
    except (SyntaxError, ValueError) as error:
        told = "expected lines NAME = plain value, as in GroundingDINO_SwinT_OGC.py"
        raise VlgroundError(f"{option}: {told}") from error


def _assignment(line: ast.stmt) -> list[tuple[str, Any]]:
    if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
        raise ValueError("no assignment")
    return [(line.targets[0].id, ast.literal_eval(line.value))]


def _build(options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of the package
    try:
        from groundingdino.models import build_model  # type: ignore[import-not-found]
        from groundingdino.models.GroundingDINO import (  # type: ignore[import-not-found]
            groundingdino as package,
        )
    except ImportError as error:
        told = "the package is not there; pip install 'vlground[groundingdino]'"
        raise VlgroundError(f"detector=groundingdino_package: {told}") from error
    from transformers.utils import logging

    logging.disable_progress_bar()  # in the middle of a sweep's lines
    theirs, package.BertModelWarper = package.BertModelWarper, BertText
    try:
        with redirect_stdout(StringIO()):  # it prints the name of the text encoder
            return build_model(Namespace(**options))
    except Exception as error:  # nearly anything, of a configuration of another kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        encoder = f"detector.text_encoder={options.get('text_encoder_type')}"
        raise VlgroundError(f"detector.config with {encoder}: cannot be built: {reason}") from error
    finally:
        package.BertModelWarper = theirs


def _load(network: nn.Module, path: Path) -> None:
    option = f"detector.checkpoint={path}"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises nearly anything
        raise VlgroundError(f"{option}: no file of tensors") from error
    state = content.get("model", content) if isinstance(content, dict) else {}
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    try:
        missing = network.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:  # of another shape
        raise VlgroundError(f"{option}: not of this detector.config") from error
    if missing:
        told = f"missing: {', '.join(sorted(missing)[:5])}"
        raise VlgroundError(f"{option}: not of this detector.config; {told}")
