"""ALBEF (Li et al. 2021, https://arxiv.org/abs/2107.07651) and AMC, which is ALBEF tuned further.

AMC: Yang et al. 2023, https://arxiv.org/abs/2206.15462.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlground.errors import VlgroundError
from vlground.models.albef_checkpoint import load_albef, official_state
from vlground.models.albef_network import AlbefNetwork, read_architecture
from vlground.models.bert_text import BertTokens, Cleaning
from vlground.models.matching import (
    ImageTextMatching,
    Parts,
    Target,
    check_vocabulary,
    clip_preprocess,
)
from vlground.preprocess import Preprocess


class AlbefMatching(ImageTextMatching):
    """ALBEF and AMC by their image-text matching head.

    Args:
        checkpoint: Official file, see `load_albef`. None: random weights, drawn from torch's
            global generator.
        tokenizer: See `BertTokens`; None: the folder of the checkpoint.
        architecture: What differs from `AlbefArchitecture`.
        layer: See `ImageTextMatching`; ALBEF (appendix, figure 8) and AMC take 8, the third that
            reads the image.
        context: Longest text in tokens; None: as long as the model's positions.
        cleaning: See `BertTokens`.
        max_words: See `BertTokens`; both read 30 of RefCOCO's words, AMC 50 of Flickr30k's.
        end_token: Whether [SEP] ends a text. The tokenizer that both repositories ship writes none,
            so their checkpoints were trained and evaluated without.
        target: See `ImageTextMatching`.
        vision_attention: See `ImageTextMatching`.
        preprocess: Its size takes the place of the architecture's, and the position embeddings of
            a checkpoint are interpolated to it. None: the squash of CLIP's mean and deviation.

    Raises:
        VlgroundError: If an option does not fit.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        tokenizer: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        layer: int | None = 8,
        context: int | None = None,
        cleaning: Cleaning = "pre_caption",
        max_words: int | None = 30,
        end_token: bool = False,
        target: Target = "match_logit",
        vision_attention: bool = False,
        preprocess: Preprocess | None = None,
    ) -> None:
        sizes = read_architecture(architecture or {})
        own = clip_preprocess(sizes.image_size) if preprocess is None else preprocess
        if own.size < sizes.patch_size:
            raise VlgroundError(f"model.preprocess.size={own.size}: smaller than a patch")
        network = AlbefNetwork(replace(sizes, image_size=own.size))
        if checkpoint is not None:
            load_albef(network, checkpoint)
        if tokenizer is None and checkpoint is None:
            raise VlgroundError("model.tokenizer=null: random weights have none beside them")
        if context is not None and context > sizes.positions:
            told = f"the model reads {sizes.positions} tokens"
            raise VlgroundError(f"model.context={context}: {told}")
        tokens = BertTokens(
            tokenizer or str(Path(checkpoint or "").expanduser().parent),
            context or sizes.positions,
            cleaning,
            max_words,
            end_token=end_token,
        )
        check_vocabulary(tokens, sizes.vocabulary)
        super().__init__(network, _parts(network), tokens, own, layer, target, vision_attention)

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` (half precision, official names) and the vocabulary."""
        from safetensors.torch import save_file

        assert isinstance(self.network, AlbefNetwork)
        folder.mkdir(parents=True, exist_ok=True)
        state = official_state(self.network)
        halves = {name: tensor.half().contiguous() for name, tensor in state.items()}
        save_file(halves, folder / "model.safetensors")
        self.tokens.save(folder)


def _parts(network: AlbefNetwork) -> Parts:
    sizes, vision, text = network.architecture, network.vision, network.text
    return Parts(
        patches=vision.embeddings,
        blocks=list(vision.layers),
        attentions=[layer.attention for layer in vision.layers],  # type: ignore[misc]
        norm=vision.norm,
        words=text.embeddings,
        layers=list(text.layers),
        fusion=sizes.fusion_layer,
        heads=sizes.heads,
        head=network.itm_head,
        patch=sizes.patch_size,
    )
