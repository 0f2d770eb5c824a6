"""The vocabulary of mini_llava: the words of the shapes world, and what is asked about it.

python -m vlground.miniatures.word_level FOLDER
"""

import sys
from pathlib import Path

from vlground.data.shapes.language import WORDS

# In the order of their ids; the words of the shapes world follow.
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_ASKED = ("?", ".", "is", "there", "yes", "no")


def write(folder: Path) -> None:
    """Write the vocabulary as transformers reads it: words, and a start of the text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*_SPECIAL, *_ASKED, *WORDS]
    ids = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    start = [("<s>", ids["<s>"])]
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=start)
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    ).save_pretrained(folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
