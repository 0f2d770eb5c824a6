"""Texts to BERT's token ids, and what of a text is read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from vlground.errors import VlgroundError

Cleaning = Literal["none", "pre_caption"]


class BertTokens:
    """A BERT vocabulary, and how the texts of one model are written in it.

    Args:
        tokenizer: Folder (of `tokenizer.json` or `vocab.txt`), or name on the hub.
        context: Longest text in tokens, special ones included.
        cleaning: none, or pre_caption: see there.
        max_words: How many words of a text are read; None: all.
        first: Id that takes the place of [CLS]; None: [CLS].
        end_token: Whether [SEP] ends a text.
        revision: Commit on the hub.

    Raises:
        VlgroundError: If an option is impossible, or there is no vocabulary.
    """

    def __init__(
        self,
        tokenizer: str,
        context: int,
        cleaning: Cleaning = "none",
        max_words: int | None = None,
        first: int | None = None,
        end_token: bool = True,
        revision: str | None = None,
    ) -> None:
        from transformers import BertTokenizer

        if cleaning not in get_args(Cleaning):
            raise VlgroundError(f"model.cleaning={cleaning}: expected none or pre_caption")
        if max_words is not None and max_words < 1:
            raise VlgroundError(f"model.max_words={max_words}: expected a positive number, or null")
        if context < 3:
            raise VlgroundError(f"model.context={context}: no room for a word and special tokens")
        absent = f"model.tokenizer={tokenizer}: no vocabulary there, nor in the hub's cache"
        try:
            self.vocabulary = BertTokenizer.from_pretrained(tokenizer, revision=revision)
        except (OSError, ValueError) as error:
            raise VlgroundError(absent) from error
        if len(self.vocabulary) <= len(self.vocabulary.all_special_ids):
            raise VlgroundError(absent)  # transformers makes one of special tokens out of nothing
        self.context = context
        self.cleaning = cleaning
        self.max_words = max_words
        self._first = [self.vocabulary.cls_token_id if first is None else first]
        self._last = [self.vocabulary.sep_token_id] if end_token else []
        self.end_token = end_token

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids `(q, t)` int64, padded to the longest text, and their mask `(q, t)` bool."""
        rows = [[*self._first, *self._words(self._clean(text))[0], *self._last] for text in texts]
        length = max(map(len, rows))
        padding = self.vocabulary.pad_token_id
        ids = torch.tensor([row + [padding] * (length - len(row)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(length) < lengths[:, None]

    def knows(self, text: str) -> bool:
        """Whether some word that is read is in the vocabulary."""
        ids, _ = self._words(self._clean(text))
        return any(word != self.vocabulary.unk_token_id for word in ids)

    def truncated(self, text: str) -> str | None:
        """What is read of a text that is too long, as it is read; None if all of it is read."""
        clean, limit = self._clean(text), self.max_words
        _, end = self._words(clean)
        whole = pre_caption(text) if self.cleaning == "pre_caption" else text
        too_many = limit is not None and len(whole.split()) > limit
        return clean[:end] if too_many or end is not None else None

    def save(self, folder: Path) -> None:
        """Write the vocabulary where a folder's name reads it again."""
        self.vocabulary.save_pretrained(folder)

    def _clean(self, text: str) -> str:
        if self.cleaning == "pre_caption":
            text = pre_caption(text)
        return text if self.max_words is None else " ".join(text.split()[: self.max_words])

    def _words(self, text: str) -> tuple[list[int], int | None]:
        """Ids of the words that fit, and where in the text they end if not all of them do."""
        found = self.vocabulary(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, room = found["input_ids"], self.context - len(self._first) - len(self._last)
        return ids[:room], found["offset_mapping"][room - 1][1] if len(ids) > room else None


def pre_caption(text: str) -> str:
    """Clean a text as ALBEF and AMC do (dataset/utils.py of both); cutting it is `max_words`.

    >>> pre_caption("The man's  half-open <person>: 'hat'!")
    'the mans half open person hat'
    """
    text = re.sub(r"""[,.'!?"()*#:;~]""", "", text.lower())
    text = re.sub(r"[-/]", " ", text).replace("<person>", "person")
    return " ".join(text.split())
