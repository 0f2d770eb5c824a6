"""gScoreCAM of eight phrases of one image on CLIP RN50x16 beside the literal loop over phrases.

    OMP_NUM_THREADS=1 python benchmarks/gscorecam.py [--channels 12]

The literal loop brings every channel of the layer to the input's size, then masks, encodes and
scores the image with the selected ones, for each phrase anew, up to 128 at once, as the authors'
code does; it runs on the same scorer. Weights are random, so how many channels the phrases share is
printed beside the time. Memory: a fresh process each; the kernel's high-water mark of a call less
what was resident before it, after a forward has warmed everything up.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from vlground.cams.gscore import GScoreCAM
from vlground.models.clip import ClipScorer

PHRASES = [
    "a dog",
    "two cats on a mat",
    "the man in a red hat",
    "a tree",
    "her daughter",
    "the left wheel of the bicycle",
    "grass",
    "a window with curtains",
]


class Bench:
    """The scorer, one image and its phrases.

    Args:
        channels: How many are selected for a phrase.
    """

    def __init__(self, channels):
        torch.manual_seed(0)
        self.scorer, self.channels = ClipScorer("RN50x16-quickgelu"), channels
        noise, size = torch.randn(1, 3, 12, 12), self.scorer.preprocess.size
        self.pixels = torch.nn.functional.interpolate(noise, (size, size), mode="bicubic")
        self.owner = torch.zeros(len(PHRASES), dtype=torch.long)
        self.images = 0
        encode = self.scorer.encode

        def count(pixels):
            self.images += len(pixels)
            return encode(pixels)

        self.scorer.encode = count

    @torch.no_grad()
    def forward(self):
        """Score without any map."""
        return self.scorer.score(self.scorer.encode(self.pixels), PHRASES, self.owner)

    @torch.no_grad()
    def ours(self):
        """Draw ours."""
        cam = GScoreCAM(channels=self.channels)
        return cam(self.scorer, self.scorer.encode(self.pixels), PHRASES, self.owner, [])

    def literal(self):
        """Draw phrase by phrase."""
        return torch.stack([self._one(phrase) for phrase in PHRASES])

    def _one(self, phrase):
        kept = []

        def keep(module, inputs, output):
            kept.append(output.detach().requires_grad_())
            return kept[0]

        handle = self.scorer.target_layers[0].module.register_forward_hook(keep)
        self._score(self.pixels, phrase).sum().backward()
        handle.remove()
        activation, gradient = kept[0].detach()[0], kept[0].grad[0]
        with torch.no_grad():
            masks = torch.nn.UpsamplingBilinear2d(size=self.pixels.shape[-2:])(activation[None])[0]
            low, high = masks.amin((1, 2))[:, None, None], masks.amax((1, 2))[:, None, None]
            masks = (masks - low) / (high - low + 1e-6)
            chosen = gradient.mean((1, 2)).topk(self.channels).indices
            masked = self.pixels * masks[chosen][:, None]
            scores = torch.cat([self._score(part, phrase) for part in masked.split(128)])
            weights = torch.zeros(len(activation)).index_copy(0, chosen, scores).softmax(0)
            return (weights[:, None, None] * activation).sum(0).relu()

    def _score(self, pixels, phrase):
        rows = torch.arange(len(pixels))
        return self.scorer.score(self.scorer.encode(pixels), [phrase] * len(pixels), rows)


def status(field):
    """A number of bytes from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak(bench, name):
    """Extra bytes at the peak of a call."""
    bench.forward()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    getattr(bench, name)()
    return status("VmHWM") - before


def peak_alone(channels, name):
    """Extra MiB, in a fresh process."""
    # Freed memory goes back to the kernel at once, so that the mark is of what was in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, __file__, "--channels", str(channels), "--peak", name]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(output.stdout.split()[-1]) / 2**20


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=12)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    bench = Bench(arguments.channels)
    if arguments.peak:
        print(peak(bench, arguments.peak))
        return
    bench.forward()
    found = {}
    print(f"{len(PHRASES)} phrases, {arguments.channels} channels each")
    print("          seconds  images encoded  extra MiB")
    for name in ("ours", "literal"):
        bench.images, start = 0, time.perf_counter()
        maps = getattr(bench, name)()
        found[name] = time.perf_counter() - start, maps
        memory = peak_alone(arguments.channels, name)
        print(f"{name:9} {found[name][0]:7.1f} {bench.images:15} {memory:10.0f}", flush=True)
    (fast, ours), (slow, literal) = found["ours"], found["literal"]
    difference = float((ours - literal).abs().max() / literal.max())
    print(f"literal/ours {slow / fast:.2f}, largest difference {difference:.1e} of the maximum")
    assert literal.amax((1, 2)).min() > 0, "a map of 0 compares nothing"


if __name__ == "__main__":
    main()
