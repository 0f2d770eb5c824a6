"""A small LLaVA with random weights, and the processor that reads the shapes world for it."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from vlground.data.shapes.claims import CONJECTURES, LOCATIONS, NUMBERS
from vlground.data.shapes.scene import COLOURS, RELATIONS, SHAPES, SIZES
from vlground.errors import VlgroundError
from vlground.training.shapes_dialogues import SUFFIXES, plural

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# In the order of their ids; marks and words follow.
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_LONGEST = 256  # tokens, of image and dialogue
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


def grown_captioner(pretrained: str) -> tuple[Any, Any]:
    """A model that says whether a text is true of a drawn scene, with the words that it lacks.

    As LLaVA begins with a vision tower and a language model that were trained before. Weights of
    words that it does not know are drawn from torch's global generator; plurals have those of one.

    Args:
        pretrained: Folder of `mini_llava`, or of another with a word a token.

    Returns:
        A `LlavaForConditionalGeneration`, and its processor.

    Raises:
        VlgroundError: If there is no such model.
    """
    from transformers import AutoTokenizer, LlavaForConditionalGeneration

    try:
        old: Any = LlavaForConditionalGeneration.from_pretrained(
            pretrained, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        ids = AutoTokenizer.from_pretrained(pretrained, local_files_only=True).get_vocab()
    except (OSError, ValueError) as error:
        told = f"task.initial.pretrained={pretrained}"
        raise VlgroundError(f"{told}: no LLaVA there: {str(error).splitlines()[0]}") from error
    text = {**old.config.text_config.to_dict(), "max_position_embeddings": _LONGEST}
    vision = old.config.vision_config.to_dict()
    layer = old.config.vision_feature_layer
    network, processor = random_captioner(
        {"vision_feature_layer": layer, "vision_config": vision, "text_config": text}
    )
    shared = {
        place: ids[_singular(token)]
        for token, place in processor.tokenizer.get_vocab().items()
        if _singular(token) in ids
    }
    places, sources = torch.tensor(list(shared)), torch.tensor(list(shared.values()))
    new = network.state_dict()
    for name, weights in old.state_dict().items():
        if weights.shape == new[name].shape:
            new[name] = weights
        elif name.endswith("embed_tokens.weight"):  # the output learns anew: it says more than that
            new[name][places] = weights[sources]
    network.load_state_dict(new)
    return network, processor


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


def _singular(token: str) -> str:
    """`star`, of `▁Star` and of `▁stars`."""
    word = token.removeprefix("▁").lower()
    return next((shape for shape in SHAPES if plural(shape) == word), word)


def _distinct(texts: Iterable[str]) -> list[str]:
    found = (word for text in texts for word in re.findall(r"\w+", text))
    return list(dict.fromkeys(found))
