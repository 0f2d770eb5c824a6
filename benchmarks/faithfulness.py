"""ROAD of a batch of images beside pytorch-grad-cam's, and the speed of the other measures.

    python benchmarks/faithfulness.py [--threads 2] [--batch 2]

A ResNet-18 with random weights at 224 px; maps are 7×7 noise brought to the image's size
bilinearly, percentiles 20, 40, 60, 80. Both sides use the same number of threads. Times are with
the library's noise; the difference is without noise on both sides, where both solve one system.
"""

import argparse
import time

import numpy as np
import torch

from vlground.metrics.faithfulness import Faithfulness, faithfulness
from vlground.models.torchvision_classifier import TorchvisionClassifier
from vlground.preprocess import Preprocess

PERCENTILES = (20, 40, 60, 80)
SIZE = 224


class Bench:
    """Images, maps and classes of one batch.

    Args:
        batch: How many.
    """

    def __init__(self, batch):
        torch.manual_seed(0)
        names = [f"class {number}" for number in range(1000)]
        self.scorer = TorchvisionClassifier(
            "resnet18", pretrained=False, preprocess=Preprocess(SIZE), classes=names
        )
        self.classes = torch.randint(1000, (batch,)).tolist()
        self.texts = [names[number] for number in self.classes]
        self.owner = torch.arange(batch)
        coarse = torch.randn(batch, 3, 28, 28)
        self.pixels = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic")
        maps = torch.nn.functional.interpolate(
            torch.rand(batch, 1, 7, 7), (SIZE, SIZE), mode="bilinear"
        )[:, 0]
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        self.maps = (maps - low) / (high - low)

    def ours(self, noise=0.01, measures=("road",)):
        """All scores of the batch."""
        options = Faithfulness(measures=measures, noise=noise, percentiles=PERCENTILES)
        return faithfulness(self.scorer, self.pixels, self.texts, self.owner, self.maps, options)

    def library(self):
        """Combined ROAD of the batch."""
        from pytorch_grad_cam.metrics.road import ROADCombined

        metric = ROADCombined(percentiles=list(PERCENTILES))
        return metric(self.pixels, self.maps.numpy(), self._targets(), self.scorer.network)

    def literal(self):
        """MoRF, LeRF and combined ROAD by the library's parts, without noise."""
        from pytorch_grad_cam.metrics import perturbation_confidence as parts
        from pytorch_grad_cam.metrics.road import NoisyLinearImputer

        means = []
        for remove in (parts.RemoveMostRelevantFirst, parts.RemoveLeastRelevantFirst):
            each = []
            for percentile in PERCENTILES:
                perturbation = remove(percentile, NoisyLinearImputer(noise=0))
                metric = parts.PerturbationConfidenceMetric(perturbation)
                each.append(
                    metric(self.pixels, self.maps.numpy(), self._targets(), self.scorer.network)
                )
            means.append(np.mean(each, axis=0))
        morf, lerf = means
        return {"road_morf": morf, "road_lerf": lerf, "road_combined": (lerf - morf) / 2}

    def _targets(self):
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        return [ClassifierOutputTarget(number) for number in self.classes]


def seconds(function, repeats):
    """Least wall-clock and processor time of a call: other work only ever adds to them."""
    function()
    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return np.min(times, axis=0)


def main():
    """Print times, their ratio, and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bench = Bench(arguments.batch)
    ours, literal = bench.ours(noise=0.0), bench.literal()
    worst = max(float(np.abs(ours[name] - literal[name]).max()) for name in literal)
    largest = max(float(np.abs(values).max()) for values in literal.values())
    fast, slow = seconds(bench.ours, arguments.repeats), seconds(bench.library, arguments.repeats)
    print(f"ROAD of {arguments.batch} images, {arguments.threads} threads")
    for name, ours, theirs in zip(("wall", "processor"), fast, slow, strict=True):
        told = f"ours {ours:.3f} s, pytorch-grad-cam {theirs:.3f} s, ratio {theirs / ours:.1f}"
        print(f"{name:9} {told}")
    print(f"largest difference {worst:.1e}, largest value {largest:.2f}")
    for measure in ("deletion", "insertion", "average"):
        took = seconds(lambda m=measure: bench.ours(measures=(m,)), 1)[0] / arguments.batch
        print(f"{measure:9} {took * 1e3:6.0f} ms an image")


if __name__ == "__main__":
    main()
