"""Time and memory of CAMs beside a plain forward and beside pytorch-grad-cam.

    OMP_NUM_THREADS=1 python benchmarks/cams.py [--methods GradCAM EigenCAM]

Time: alternating repeats in one process, the median of the ratios of neighbours. Memory: a fresh
process each; the kernel's high-water mark of a call less what was resident before it, after a plain
forward has warmed everything up. The library's models keep their weights' requires_grad, as its
README has it; ours are frozen.
"""

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from vlground.cams.eigen import EigenCAM
from vlground.cams.fullgrad import FullGrad
from vlground.cams.gradient import GradCAM
from vlground.cams.score import ScoreCAM
from vlground.config import build
from vlground.models.classifier import ImageClassifier
from vlground.models.imagenet import class_names
from vlground.preprocess import Preprocess

CONF = Path(__file__).parents[1] / "conf"
CAMS = {
    "GradCAM": GradCAM,
    "EigenCAM": EigenCAM,
    "ScoreCAM": ScoreCAM,
    "FullGrad": FullGrad,
}
# Last feature maps, as the library is told them.
LAYERS = {"lite0": "bn2", "resnet50": "layer4", "resnet18": "layer4"}


def load(model):
    """Return the scorer and the bare network, with the same weights."""
    if model == "lite0":
        node = yaml.safe_load((CONF / "model" / "efficientnet_lite0.yaml").read_text())
        scorer = build(node)
        return scorer, scorer.network
    import timm

    torch.manual_seed(0)
    network = timm.create_model(model, zero_init_last=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # or FullGrad's terms were all 0
            module.bias.data.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.2)
    return ImageClassifier(network, Preprocess(size=224)), network


class Bench:
    """One model, one CAM, ours and theirs.

    Args:
        model: Of LAYERS.
        method: Of CAMS.
        batch: Images, one text each.
    """

    def __init__(self, model, method, batch):
        self.scorer, self.network = load(model)
        self.layer = self.network.get_submodule(LAYERS[model])
        self.method, self.cam = method, CAMS[method]()
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(batch, 3, 14, 14, generator=generator)
        self.pixels = torch.nn.functional.interpolate(noise, (224, 224), mode="bicubic")
        with torch.no_grad():  # what the model sees: its Grad-CAM is not 0
            self.targets = self.network(self.pixels).argmax(dim=1).tolist()
        self.texts = [class_names()[target] for target in self.targets]
        self.owner = torch.arange(batch)

    @torch.no_grad()
    def plain(self):
        """Score without any map."""
        return self.scorer.score(self.scorer.encode(self.pixels), self.texts, self.owner)

    @torch.no_grad()
    def network_alone(self):
        """Run the bare network."""
        return self.network(self.pixels)

    @torch.no_grad()
    def ours(self):
        """Draw ours."""
        encoded = self.scorer.encode(self.pixels)
        return self.cam(self.scorer, encoded, self.texts, self.owner, []).numpy()

    def theirs(self):
        """Draw the library's."""
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        self.network.requires_grad_(True)
        layers = [] if self.method == "FullGrad" else [self.layer]
        cam = getattr(pytorch_grad_cam, self.method)(self.network, layers)
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            drawn = cam(self.pixels, [ClassifierOutputTarget(target) for target in self.targets])
        cam.activations_and_grads.release()
        self.network.zero_grad()
        self.network.requires_grad_(False)
        return drawn


def ratio(one, other, repeats):
    """Median of time(one) / time(other) over alternating calls, and both medians in seconds."""
    if repeats > 1:
        one(), other()  # to warm up
    pairs = []
    for _ in range(repeats):
        pair = []
        for function in (one, other):
            start = time.perf_counter()
            function()
            pair.append(time.perf_counter() - start)
        pairs.append(pair)
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return statistics.median(a / b for a, b in pairs), *medians


def status(field):
    """A number of bytes from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak(bench, name):
    """Extra bytes at the peak of a call."""
    import pytorch_grad_cam  # noqa: F401 - its import is not the call's memory

    with torch.no_grad():
        bench.plain()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    getattr(bench, name)()
    return status("VmHWM") - before


def peaks(model, method, batch):
    """Extra MiB of a plain forward, ours and theirs, each in a fresh process."""
    # Freed memory goes back to the kernel at once, so that the mark is of what was in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    found = []
    for name in ("plain", "ours", "theirs"):
        command = [sys.executable, __file__, "--peak", model, method, str(batch), name]
        output = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        found.append(int(output.split()[-1]) / 2**20)
    return found


def difference(bench):
    """Largest difference of ours, normalised and resized as theirs, from theirs."""
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction

    ours = bench.ours()
    if bench.method == "EigenCAM":  # a singular vector has no sign: theirs with our rule for it
        encoded = bench.scorer.encode(bench.pixels)
        activation = bench.cam.activation(bench.scorer, encoded, bench.texts, bench.owner)
        signed = get_2d_projection_with_sign_correction(activation.numpy())
        theirs = scale_cam_image(scale_cam_image(signed.clip(0), (224, 224)))
    else:
        theirs = bench.theirs()
    assert (theirs.max(axis=(1, 2)) > 0).all(), "a map of 0 compares nothing"
    return np.abs(scale_cam_image(scale_cam_image(ours, (224, 224))) - theirs).max()


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=CAMS, default=list(CAMS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if arguments.peak:
        model, method, batch, name = arguments.peak
        print(peak(Bench(model, method, int(batch)), name))
        return

    print("model     cam        batch   ours s  /forward  theirs s  ours/theirs", end="")
    print("  extra MiB: forward   ours  theirs  ours/theirs  difference")
    rows = [(model, cam, 8) for model in ("lite0", "resnet50") for cam in ("GradCAM", "EigenCAM")]
    rows += [("resnet18", "ScoreCAM", 1), ("resnet50", "FullGrad", 1)]
    for model, method, batch in rows:
        if method not in arguments.methods:
            continue
        bench = Bench(model, method, batch)
        repeats = 1 if method == "ScoreCAM" else arguments.repeats
        theirs, ours, them = ratio(bench.ours, bench.theirs, min(repeats, 3))
        if repeats > 1:
            forward, *_ = ratio(bench.ours, bench.plain, repeats)
        else:
            forward = ours / ratio(bench.plain, bench.plain, 3)[1]
        print(f"{model:9} {method:10} {batch:5} {ours:8.3f} {forward:9.2f} {them:9.3f}", end="")
        print(f" {theirs:12.2f}", end="", flush=True)
        idle, mine, other = peaks(model, method, batch)
        print(f" {idle:19.0f} {mine:6.0f} {other:7.0f} {mine / other:12.2f}", end="")
        print(f"  {difference(bench):.1e}", flush=True)
    scorer = Bench("resnet50", "GradCAM", 8)
    overhead, *_ = ratio(scorer.plain, scorer.network_alone, arguments.repeats)
    print(f"resnet50, the scorer's forward over the bare network's: {overhead:.2f}")


if __name__ == "__main__":
    main()
