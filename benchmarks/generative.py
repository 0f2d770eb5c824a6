"""Time and memory of attention Grad-CAM of a LLaVA for many phrases of one image, beside a loop.

    OMP_NUM_THREADS=1 python benchmarks/generative.py [--repeats 2]

The loop reads the whole sequence for every phrase with transformers' unmodified network: image
tower, prompt, 576 image tokens, question; then a backward pass to the attention and a map. Batched,
it is given all phrases at once; its image tower runs once a phrase too. Weights are random, the
same on both sides, and frozen, so that neither side differentiates below the attention; the loop
computes probabilities in that one layer only and has torch's kernel in the others. The shape is a
small one that two cores run: CLIP ViT-S/14 of 4 layers, and 8 layers of Llama of width 512 with
half as many key-value heads. Time and memory are taken as in cams.py.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from vlm import PHRASES

from cams import ratio, status
from vlground.cams.attention import AttentionGradCAM, attention_maps
from vlground.models.generative import QUESTION, GenerativeScorer

LAYER = 4
ARCHITECTURE = {
    "vision_config": {
        "model_type": "clip_vision_model",
        "image_size": 336,
        "patch_size": 14,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
    },
    "text_config": {
        "model_type": "llama",
        "vocab_size": 32064,
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
    },
    "image_token_index": 1,
}


def write_tokenizer(folder):
    """Words of the question and of the phrases."""
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Whitespace()
    texts = [*PHRASES, QUESTION.replace("{}", ""), QUESTION, "Yes No"]
    words = sorted({word for text in texts for word, _ in split.pre_tokenize_str(text)})
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<image>", *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = split
    PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", additional_special_tokens=["<image>"]
    ).save_pretrained(folder)


class Bench:
    """One image, eight phrases, ours and the loop."""

    def __init__(self):
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            write_tokenizer(folder)
            self.scorer = GenerativeScorer(architecture=ARCHITECTURE, tokenizer=folder, layer=LAYER)
        self.network, self.cam = self.scorer.network, AttentionGradCAM()
        generator = torch.Generator().manual_seed(0)
        for weight in self.network.parameters():  # attention that is far from uniform
            if weight.ndim > 1:
                noise = torch.randn(weight.shape, generator=generator)
                weight.data = noise * weight.shape[1] ** -0.5
        noise = torch.randn(1, 3, 12, 12, generator=generator)
        self.pixels = torch.nn.functional.interpolate(noise, (336, 336), mode="bicubic")

    def whole(self, phrases):
        """Ids of the whole prompts, and what of them is the text's."""
        asked = self.scorer.prompt.read(phrases)
        before = torch.tensor([*self.scorer.prompt.before, *[1] * 576])
        ids = torch.cat([before.expand(len(phrases), -1), asked.ids], dim=1)
        return ids, asked.rows + len(before), asked.token_mask, len(before)

    @torch.no_grad()
    def ours(self):
        """Encode the image once and draw all maps at once."""
        encoded = self.scorer.encode(self.pixels)
        owner = torch.zeros(len(PHRASES), dtype=torch.long)
        return self.cam(self.scorer, encoded, PHRASES, owner, [])

    def transformers(self, phrases):
        """Draw maps from whole sequences."""
        from transformers import AttentionInterface
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        kept = []

        def keep(module, query, key, value, mask, scaling, **others):
            if module.layer_idx != LAYER:
                return sdpa_attention_forward(
                    module, query, key, value, mask, scaling=scaling, **others
                )
            groups = module.num_key_value_groups
            key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
            length = query.shape[2]
            ahead = torch.full((length, length), float("-inf")).triu(1)
            scores = query @ key.transpose(2, 3) * scaling + ahead
            kept.append(scores.softmax(dim=-1).requires_grad_())
            return (kept[0] @ value).transpose(1, 2).contiguous(), None

        AttentionInterface.register("kept", keep)
        language = self.network.model.language_model.config
        own, language._attn_implementation = language._attn_implementation, "kept"
        ids, rows, mask, before = self.whole(phrases)
        with torch.enable_grad():
            last = rows[:, 0].unique()
            logits = self.network(
                input_ids=ids,
                pixel_values=self.pixels.expand(len(phrases), -1, -1, -1),
                logits_to_keep=last,
                use_cache=False,
            ).logits
            chosen = logits[
                torch.arange(len(phrases)), torch.searchsorted(last, rows[:, 0].contiguous())
            ]
            scores = chosen.log_softmax(dim=-1)[:, self.scorer.answers[0]]
            (gradient,) = torch.autograd.grad(scores.sum(), kept)
        language._attn_implementation = own
        index = rows.clamp(max=ids.shape[1] - 1)[:, None, :, None].expand(-1, 8, -1, 576)
        read, slope = (
            one[..., before - 576 : before].gather(2, index) for one in (kept[0].detach(), gradient)
        )
        return attention_maps(read, slope, mask, (24, 24))

    def loop(self):
        """Draw one map after the other."""
        return torch.cat([self.transformers([phrase]) for phrase in PHRASES])

    def batched(self):
        """Draw all maps of the loop at once."""
        return self.transformers(PHRASES)


def peaks():
    """Extra MiB of ours, of the loop and of the batched loop, each in a fresh process."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    found = []
    for name in ("ours", "loop", "batched"):
        command = [sys.executable, __file__, "--peak", name]
        output = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        found.append(int(output.split()[-1]) / 2**20)
    return found


def peak(name):
    """Extra bytes at the peak of a call."""
    bench = Bench()
    with torch.no_grad():
        bench.network.model.get_image_features(bench.pixels)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    getattr(bench, name)()
    return status("VmHWM") - before


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    if arguments.peak:
        print(peak(arguments.peak))
        return

    bench = Bench()
    gain, loop, mine = ratio(bench.loop, bench.ours, arguments.repeats)
    batched, *_ = ratio(bench.batched, bench.ours, arguments.repeats)
    drawn, theirs = bench.ours(), bench.loop()
    assert (theirs.amax(dim=(1, 2)) > 0).all(), "a map of 0 compares nothing"
    scale = theirs.amax(dim=(1, 2), keepdim=True)
    difference = float(((drawn - theirs) / scale).abs().max())
    del bench
    one, two, three = peaks()
    print(f"one image, {len(PHRASES)} phrases, 576 image tokens")
    print("ours s  loop s  loop/ours  batched/ours", end="")
    print("  extra MiB: ours  loop  batched  difference of maps")
    print(f"{mine:6.2f} {loop:7.2f} {gain:10.2f} {batched:13.2f}", end="")
    print(f" {one:16.0f} {two:5.0f} {three:8.0f} {difference:19.1e}", flush=True)


if __name__ == "__main__":
    main()
