"""Time and memory of attention Grad-CAM for many phrases of one image, beside the usual loop.

    OMP_NUM_THREADS=1 python benchmarks/vlm.py [--models blip_base albef]

The loop is LAVIS's: for every pair the image tower, the text encoder, a backward pass to the
attention and a map; of BLIP by transformers' unmodified model, of ALBEF by the scorer asked one
pair at a time. Batched, it is given all pairs at once. Weights are real in size, random, the same
on both sides, and frozen, so that neither side differentiates below the attention. Time and memory
are taken as in cams.py; with a CUDA device also phrases a second in bfloat16.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

from cams import CONF, ratio, status
from vlground.cams.attention import AttentionGradCAM, attention_maps
from vlground.config import build

PHRASES = (
    "a man in a blue shirt",
    "the small brown dog on the left",
    "her red hat",
    "two young guys with shaggy hair",
    "wifi router to the right of television",
    "a wooden bench under the tree",
    "the white car behind the bus",
    "an old woman holding an umbrella",
)
MODELS = {"blip_base": {}, "albef": {"size": 256}, "blip_large": {}}


def load(model, folder):
    """Return the scorer of an option of model, of random weights."""
    words = sorted({word for phrase in PHRASES for word in phrase.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (Path(folder) / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    node = yaml.safe_load((CONF / "model" / f"{model}.yaml").read_text())
    node["preprocess"].update(MODELS[model])
    weights = "checkpoint" if "checkpoint" in node else "pretrained"
    torch.manual_seed(0)
    return build({**node, weights: None, "tokenizer": folder})


class Bench:
    """One image, eight phrases, ours and the loop.

    Args:
        model: Of MODELS.
        device: Where it runs.
    """

    def __init__(self, model, device="cpu"):
        with tempfile.TemporaryDirectory() as folder:
            self.scorer = load(model, folder).to(device)
        self.cam, self.device = AttentionGradCAM(), device
        size = self.scorer.preprocess.size
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, 3, 12, 12, generator=generator)
        pixels = torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")
        self.pixels = pixels.to(device)
        self.loop_pair = self.pair if model == "albef" else self.transformers_pair
        self.network = None if model == "albef" else self.unmodified()

    def unmodified(self):
        """Return transformers' own model with the weights of ours."""
        from transformers import BlipForImageTextRetrieval

        network = BlipForImageTextRetrieval(self.scorer.network.config)
        network.load_state_dict(self.scorer.network.state_dict())
        return network.eval().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def ours(self, phrases=PHRASES):
        """Encode the image once and draw all maps at once."""
        encoded = self.scorer.encode(self.pixels)
        owner = torch.zeros(len(phrases), dtype=torch.long, device=self.device)
        return self.cam(self.scorer, encoded, phrases, owner, [])

    def pair(self, phrases):
        """Ours, but for one copy of the image a phrase."""
        with torch.no_grad():
            encoded = self.scorer.encode(self.pixels.expand(len(phrases), -1, -1, -1))
        owner = torch.arange(len(phrases), device=self.device)
        return self.cam(self.scorer, encoded, phrases, owner, [])

    def transformers_pair(self, phrases):
        """Draw maps with transformers' model, one copy of the image a phrase."""
        ids, mask = (tensor.to(self.device) for tensor in self.scorer.tokens.tokenize(phrases))
        (target,) = (layer for layer in self.scorer.target_layers if layer.default)
        number = int(target.name.split(".")[1])
        attention = self.network.text_encoder.encoder.layer[number].crossattention.self.dropout
        kept = []

        def keep(module, inputs, output):
            kept.append(output.detach().requires_grad_())
            return kept[0]

        handle = attention.register_forward_hook(keep)
        pixels = self.pixels.expand(len(phrases), -1, -1, -1)
        scores = self.network(input_ids=ids, pixel_values=pixels, attention_mask=mask).itm_score
        handle.remove()
        (gradient,) = torch.autograd.grad(scores[:, 1].sum(), kept)
        return attention_maps(kept[0].detach(), gradient, mask, target.grid)

    def loop(self):
        """Draw one map after the other."""
        return torch.cat([self.loop_pair([phrase]) for phrase in PHRASES])

    def batched(self):
        """Draw all maps of the loop at once."""
        return self.loop_pair(PHRASES)


def peak(bench, name):
    """Extra bytes at the peak of a call."""
    with torch.no_grad():
        bench.scorer.encode(bench.pixels)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    getattr(bench, name)()
    return status("VmHWM") - before


def peaks(model):
    """Extra MiB of ours, of the loop and of the batched loop, each in a fresh process."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    found = []
    for name in ("ours", "loop", "batched"):
        command = [sys.executable, __file__, "--peak", model, name]
        output = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        found.append(int(output.split()[-1]) / 2**20)
    return found


def on_a_gpu(model, images=30):
    """Print phrases a second and GiB, ours and the batched loop, in bfloat16."""
    bench = Bench(model, "cuda")
    for name in ("ours", "batched", "loop"):
        draw = getattr(bench, name)
        with torch.autocast("cuda", torch.bfloat16):
            draw()
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            for _ in range(images):
                maps = draw()
            torch.cuda.synchronize()
            seconds = time.perf_counter() - start
        assert maps.dtype == torch.float32
        memory = torch.cuda.max_memory_allocated() / 2**30
        rate = images * len(PHRASES) / seconds
        print(f"{model:10} {name:8} {rate:8.0f} phrases/s {memory:6.2f} GiB", flush=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["blip_base", "albef"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    if torch.cuda.is_available():
        for model in MODELS:
            on_a_gpu(model)
        return
    torch.set_num_threads(1)
    if arguments.peak:
        model, name = arguments.peak
        print(peak(Bench(model), name))
        return

    print(f"one image, {len(PHRASES)} phrases")
    print("model       ours s  loop s  loop/ours  batched/ours", end="")
    print("  extra MiB: ours  loop  batched  difference of maps")
    for model in arguments.models:
        bench = Bench(model)
        gain, loop, mine = ratio(bench.loop, bench.ours, arguments.repeats)
        batched, *_ = ratio(bench.batched, bench.ours, arguments.repeats)
        print(
            f"{model:10} {mine:7.2f} {loop:7.2f} {gain:10.2f} {batched:13.2f}", end="", flush=True
        )
        drawn, theirs = bench.ours(), bench.loop()
        assert (theirs.amax(dim=(1, 2)) > 0).all(), "a map of 0 compares nothing"
        scale = theirs.amax(dim=(1, 2), keepdim=True)
        difference = float(((drawn - theirs) / scale).abs().max())
        del bench
        one, two, three = peaks(model)
        print(f" {one:16.0f} {two:5.0f} {three:8.0f} {difference:19.1e}", flush=True)


if __name__ == "__main__":
    main()
