"""Shared fixtures."""

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).parents[2] / "shared" / "data"

torch.set_flush_denormal(True)


@pytest.fixture(scope="session")
def voc60() -> Path:
    """60 real VOC photos, where the folder lies beside the checkout."""
    folder = SHARED / "voc60"
    if not folder.is_dir():
        pytest.skip("the folder of real data (voc60) is not beside the checkout")
    return folder
