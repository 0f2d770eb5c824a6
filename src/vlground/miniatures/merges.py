"""Byte pair merges of the words of the shapes world, for CLIP's tokenizer: a word is one token.

python -m vlground.miniatures.merges FILE
"""

import gzip
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from vlground.data.shapes.language import WORDS

Pair = tuple[str, str]


def byte_pair_merges(words: Sequence[str]) -> list[Pair]:
    """Byte pair encoding (Sennrich et al. 2016), learnt until every word is one token.

    Args:
        words: Of ASCII letters, in lower case.

    >>> byte_pair_merges(["red", "bed"])
    [('e', 'd</w>'), ('b', 'ed</w>'), ('r', 'ed</w>')]
    """
    spelt = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[Pair] = []
    while counts := Counter(pair for word in spelt for pair in pairwise(word)):
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        spelt = [_merge(word, merges[-1]) for word in spelt]
    return merges


def write(file: Path) -> None:
    """Write the merges as open_clip's `SimpleTokenizer` reads them."""
    words = sorted({word for text in WORDS for word in text.split()})
    lines = ["#version: 0.2", *(" ".join(pair) for pair in byte_pair_merges(words))]
    file.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def _merge(word: Sequence[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    for token in word:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged


if __name__ == "__main__":
    write(Path(sys.argv[1]))
