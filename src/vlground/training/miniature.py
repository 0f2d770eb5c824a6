"""A small LLaVA with random weights, and the processor that reads the shapes world for it."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vlground.data.shapes.claims import CONJECTURES, LOCATIONS, NUMBERS
from vlground.data.shapes.scene import COLOURS, RELATIONS, SHAPES, SIZES
from vlground.errors import VlgroundError
from vlground.training.shapes_dialogues import SUFFIXES, plural

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# In the order of their ids; marks and words follow.
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_MARKS = (".", "?", ",", ":")
_TEXTS = (
    "USER ASSISTANT Describe this image in detail",
    "There The It is are a an the of no No Yes yes",
    "Is Are there in the image on at it What color colour How many which where",
)
_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER:{% else %} ASSISTANT:{% endif %}"
    "{% if message['content'] is string %} {{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %} <image>{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def words() -> list[str]:
    """All that captions and questions about drawn scenes say, each once."""
    said = (*_TEXTS, *SIZES, *COLOURS, *SHAPES, *map(plural, SHAPES), *NUMBERS, *RELATIONS)
    return _distinct([*said, *LOCATIONS, *CONJECTURES, *SUFFIXES])


def random_captioner(architecture: Mapping[str, Any]) -> tuple[Any, Any]:
    """Draw a network from torch's global generator, and build its processor.

    Args:
        architecture: Arguments of transformers' `LlavaConfig`, but for what the vocabulary says:
            ids of special tokens, and how many there are.

    Returns:
        A `LlavaForConditionalGeneration`, and its processor.

    Raises:
        VlgroundError: If the architecture is none.
    """
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    tokenizer = word_tokenizer()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    try:
        text = {**architecture["text_config"], **ids, "vocab_size": len(tokenizer)}
        vision = architecture["vision_config"]
        cells = (vision["image_size"] // vision["patch_size"]) ** 2
        known = {"image_token_index": _SPECIAL.index("<image>"), "image_seq_length": cells}
        config = LlavaConfig(**{**architecture, **known, "text_config": text})
        network = LlavaForConditionalGeneration(config)
    except (KeyError, TypeError, ValueError) as error:
        raise VlgroundError(f"task.initial.architecture: not LLaVA's: {error!r}") from error
    network.generation_config.update(**ids)
    return network, _processor(tokenizer, vision["image_size"], vision["patch_size"])


def word_tokenizer() -> "PreTrainedTokenizerFast":
    """A word a token, with the space before it; marks are tokens of their own.

    So every text of `words` is given back to the character.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokens = [*_SPECIAL, *_MARKS, *(f"▁{word}" for word in words())]
    made = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    made.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
    )
    made.decoder = decoders.Metaspace()
    start = [("<s>", _SPECIAL.index("<s>"))]
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=start)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        clean_up_tokenization_spaces=False,
    )


def _processor(tokenizer: "PreTrainedTokenizerFast", side: int, patch: int) -> Any:  # noqa: ANN401
    from transformers import CLIPImageProcessor, LlavaProcessor

    size = {"height": side, "width": side}
    return LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": side}, crop_size=size),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        chat_template=_TEMPLATE,
        num_additional_image_tokens=1,
    )


def _distinct(texts: Iterable[str]) -> list[str]:
    found = (word for text in texts for word in re.findall(r"\w+", text))
    return list(dict.fromkeys(found))
