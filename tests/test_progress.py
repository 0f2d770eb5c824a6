"""The line that says how far a run is."""

import logging

import lightning
import pytest
from torch.utils.data import DataLoader

from vlground.progress import SampleProgress

_EACH = 5


class Captions(lightning.LightningModule):
    """Makes five texts an image, as sampling does."""

    def expected(self, verb: str) -> int:
        return 6

    def predict_step(self, batch: list[int]) -> list[str]:
        return [f"{image}/{candidate}" for image in batch for candidate in range(_EACH)]


def test_images_are_counted_against_images(caplog: pytest.LogCaptureFixture) -> None:
    trainer = lightning.Trainer(
        callbacks=[SampleProgress(every=0)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    loader = DataLoader(list(range(6)), batch_size=2, collate_fn=list)
    with caplog.at_level(logging.INFO, "vlground"):
        trainer.predict(Captions(), loader)
    told = [record.message.split(",")[0] for record in caplog.records if "drawn" in record.message]
    assert told == ["drawn 2 of 6 samples", "drawn 4 of 6 samples", "drawn 6 of 6 samples"]
