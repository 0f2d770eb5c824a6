"""Weights & Biases: what one run looks like there, whether it is live or pushed from disk."""

from vlground.tracking.described import Described, title
from vlground.tracking.live import again, wandb_logger
from vlground.tracking.numbers import flat_scores
from vlground.tracking.records import known_run, linkable, remember
from vlground.tracking.sending import ARTIFACT, FILES, attach, send
from vlground.tracking.session import close, hush, logged_in, one_line
from vlground.tracking.tables import confusion, samples

__all__ = [
    "ARTIFACT",
    "FILES",
    "Described",
    "again",
    "attach",
    "close",
    "confusion",
    "flat_scores",
    "hush",
    "known_run",
    "linkable",
    "logged_in",
    "one_line",
    "remember",
    "samples",
    "send",
    "title",
    "wandb_logger",
]
