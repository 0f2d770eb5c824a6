"""How far a run is: a bar on terminals, a line now and then elsewhere."""

import logging
import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger("vlground")


class SampleProgress(Callback):
    """Counts samples, not batches: drawn (`predict`) and scored (`test`).

    Args:
        every: Seconds between two lines where there is no terminal; shorter runs print none.
    """

    def __init__(self, every: float = 30.0) -> None:
        self.every = every
        self._bar: Progress | None = None
        self._verb, self._total, self._done = "", 0, 0
        self._started = self._told = 0.0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count maps."""
        self._begin("drawn", trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count scores."""
        self._begin("scored", trainer, pl_module)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch of maps, or of images, each of which may have several captions."""
        self._advance(len(batch) if isinstance(batch, list) else len(outputs))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch of scores."""
        self._advance(len(batch))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._end()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._end()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, so that the message stands alone."""
        self._end()

    def _begin(self, verb: str, trainer: Trainer, module: LightningModule) -> None:
        self._end()
        self._verb, self._done = verb, 0
        self._total = module.expected(verb)  # type: ignore[operator]
        self._started = self._told = time.monotonic()
        if not (trainer.is_global_zero and sys.stderr.isatty()):
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} samples/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            transient=True,
        )
        self._bar.add_task(verb, total=self._total, rate="–")
        self._bar.start()

    def _advance(self, samples: int) -> None:
        self._done += samples
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, rate=f"{rate:.1f}")
        elif now - self._told >= self.every:
            self._told = now
            left = (self._total - self._done) / rate
            counts = f"{self._verb} {self._done} of {self._total} samples"
            log.info("%s, %.1f a second, %s left", counts, rate, duration(left))

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def duration(seconds: float) -> str:
    """A time to wait, as a person says it.

    >>> duration(42), duration(150), duration(9000)
    ('42 s', '2 min', '2 h 30 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
