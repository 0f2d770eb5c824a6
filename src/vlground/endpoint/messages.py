"""What is sent to an endpoint of chat completions: words and pictures."""

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image


def write_body(
    model: str, words: str, images: Sequence[np.ndarray], fields: Mapping[str, Any]
) -> bytes:
    """JSON of a request.

    Args:
        model: Requested id.
        words: What is asked.
        images: `(height, width, 3)` uint8; sent as PNG, at their own size.
        fields: More of them: temperature, the longest answer, a seed.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": words}]
    for image in images:
        content.append({"type": "image_url", "image_url": {"url": _data_url(image)}})
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "messages": messages, **fields}).encode()


def picture_digest(image: np.ndarray) -> str:
    """SHA-256 of the pixels and their shape, whatever file they are sent in."""
    found = hashlib.sha256(str((image.shape, image.dtype.str)).encode())
    found.update(np.ascontiguousarray(image).data)
    return found.hexdigest()


def _data_url(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_type=zlib.Z_RLE)  # quick, most is black
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
