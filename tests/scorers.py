"""Scorers of the tests: real transformers architectures, tiny and random, and a planted one."""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForImageTextRetrieval, CLIPConfig, CLIPModel

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.preprocess import Preprocess

SIZE, PATCH, WIDTH, WORDS = 32, 8, 32, 50
GRID = (SIZE // PATCH, SIZE // PATCH)
TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}
VISION = {**TOWER, "image_size": SIZE, "patch_size": PATCH}
TEXT = {
    **TOWER,
    "vocab_size": WORDS,
    "max_position_embeddings": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 2,
}


def tokenize(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Words hashed to ids 3…49, between 1 and 2, padded with 0; and the mask."""
    rows = [[1, *(3 + zlib.crc32(w.encode()) % (WORDS - 3) for w in t.split()), 2] for t in texts]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    return ids, ids > 0


class TinyClip(Scorer):
    """CLIP ViT: cut before the last vision layer, whose `layer_norm1` is the target."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=16)
        self.clip = CLIPModel(config).eval().requires_grad_(False)
        self.preprocess = Preprocess(size=SIZE)
        tokens = torch.arange(1 + GRID[0] * GRID[1]) > 0
        last = self.clip.vision_model.encoder.layers[-1]
        self.target_layers = (TargetLayer("last", last.layer_norm1, "features", GRID, tokens),)

    def encode(self, pixels: Tensor) -> Encoded:
        vision = self.clip.vision_model
        hidden = vision.pre_layrnorm(vision.embeddings(pixels))
        for layer in vision.encoder.layers[:-1]:
            hidden = layer(hidden, None)
        return Encoded(pixels, hidden)

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        vision = self.clip.vision_model
        hidden = vision.encoder.layers[-1](encoded.features[owner], None)
        image = self.clip.visual_projection(vision.post_layernorm(hidden[:, 0]))
        ids, mask = tokenize(texts)
        output = self.clip.text_model(input_ids=ids, attention_mask=mask)
        text = self.clip.text_projection(output.pooler_output)
        return self.clip.logit_scale.exp() * nn.functional.cosine_similarity(image, text)


class TinyBlip(Scorer):
    """BLIP-ITM: the image tower is encoded once, every cross-attention is a target.

    With `text` the text's attention is, too; with `vision` the image tower's, which then runs once
    a text. BLIP begins with an image tower that is all but 0: here every matrix is drawn anew,
    large enough for attention that is far from uniform.
    """

    def __init__(self, text: bool = False, vision: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        words = {**TEXT, "encoder_hidden_size": WIDTH, "is_decoder": True}
        config = BlipConfig(vision_config=VISION, text_config=words, image_text_hidden_size=16)
        self.blip = BlipForImageTextRetrieval(config).eval().requires_grad_(False)
        for weight in self.blip.parameters():
            if weight.ndim > 1:
                weight.data.normal_(0, 0.25)
        self.preprocess = Preprocess(size=SIZE)
        self.vision = vision
        tokens = torch.arange(1 + GRID[0] * GRID[1]) > 0
        image = [
            TargetLayer(f"vision.{i}", layer.self_attn.dropout, "self_attention", GRID, tokens)
            for i, layer in enumerate(self.blip.vision_model.encoder.layers)
        ]
        both = [
            TargetLayer(
                name, attention.self.dropout, kind, GRID, default=name == "crossattention.1"
            )
            for i, layer in enumerate(self.blip.text_encoder.encoder.layer)
            for name, attention, kind in (
                (f"text.{i}", layer.attention, "text_attention"),
                (f"crossattention.{i}", layer.crossattention, "cross_attention"),
            )
            if text or kind == "cross_attention"
        ]
        self.target_layers = (*(image if vision else ()), *both)

    def encode(self, pixels: Tensor) -> Encoded:
        tower = self.blip.vision_model
        return Encoded(
            pixels, tower.embeddings(pixels) if self.vision else tower(pixels).last_hidden_state
        )

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        ids, mask = tokenize(texts)
        for layer in self.target_layers:
            if layer.kind in ("text_attention", "cross_attention"):
                layer.token_mask = mask
        image, tower = encoded.features[owner], self.blip.vision_model
        if self.vision:
            image = tower.post_layernorm(tower.encoder(inputs_embeds=image).last_hidden_state)
        hidden = self.blip.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image
        ).last_hidden_state
        return self.blip.itm_head(hidden[:, 0])[:, 1]


class PatchScorer(Scorer):
    """Scores the brightness of one cell: the text "1 2" is the cell in row 1, column 2."""

    def __init__(self, size: int = SIZE, grid: int = GRID[0]) -> None:
        super().__init__()
        self.preprocess = Preprocess(size=size)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.tap = nn.Identity()
        self.target_layers = (TargetLayer("features", self.tap, "features", (grid, grid)),)

    def encode(self, pixels: Tensor) -> Encoded:
        return Encoded(pixels, self.pool(pixels))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        features = self.tap(encoded.features[owner])
        cells = [tuple(map(int, text.split())) for text in texts]
        return torch.stack([f[:, r, c].sum() for f, (r, c) in zip(features, cells, strict=True)])

    def knows(self, text: str) -> bool:
        return len(text.split()) == 2 and all(word.isdigit() for word in text.split())
