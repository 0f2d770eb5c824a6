"""A metric sweep over stored maps against the one run that made them; and memory over many samples.

    .venv/bin/python benchmarks/sweep.py

Twenty settings of the metric are swept by one command over the maps of 300 drawn photos
(500 × 375 px, EfficientNet-lite2, Grad-CAM), which another command has made just before. Then
50,000 synthetic samples are drawn and scored in one process whose memory is watched.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

PHOTOS = 300
SETTINGS = [
    f"metric.threshold={','.join(f'{t / 20:g}' for t in range(1, 11))}",
    "metric.tie=any,all",
]


def main() -> None:
    """Print both results."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root / "voc")
        common = ["dataset=voc", f"dataset.root={root / 'voc'}", "model=efficientnet_lite2"]
        common += ["logger=none", f"runs={root / 'runs'}"]
        made = timed([*common])
        swept = timed(["-m", *common, *SETTINGS])
        count = len(list((root / "runs").glob("grounding/*/results.json")))
        print(f"maps of {PHOTOS} photos, one setting:  {made:6.1f} s")
        print(f"{count - 1} settings over stored maps:     {swept:6.1f} s")
        print(f"ratio {swept / made:.2f} (asked: at most 1.3)")
    memory()


def draw(root: Path) -> None:
    """A Pascal VOC folder of noise with one box a photo."""
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        coarse.resize((500, 375)).save(root / "JPEGImages" / f"{number:06}.jpg")
        annotation = ElementTree.Element("annotation")
        ElementTree.SubElement(annotation, "filename").text = f"{number:06}.jpg"
        size = ElementTree.SubElement(annotation, "size")
        for name, value in (("width", 500), ("height", 375), ("depth", 3)):
            ElementTree.SubElement(size, name).text = str(value)
        thing = ElementTree.SubElement(annotation, "object")
        ElementTree.SubElement(thing, "name").text = ("dog", "cat", "car")[number % 3]
        box = ElementTree.SubElement(thing, "bndbox")
        x, y = rng.integers(1, 250), rng.integers(1, 180)
        for name, value in (("xmin", x), ("ymin", y), ("xmax", x + 200), ("ymax", y + 150)):
            ElementTree.SubElement(box, name).text = str(value)
        path = root / "Annotations" / f"{number:06}.xml"
        ElementTree.ElementTree(annotation).write(path)


def timed(arguments: list[str]) -> float:
    """Seconds of one command."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "vlground", *arguments],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    return time.perf_counter() - started


def memory() -> None:
    """Draw and score 50,000 samples; the growth of peak memory after the first tenth."""
    import vlground  # noqa: F401, I001  (its torchvision hook comes before lightning)
    import lightning

    from vlground.cams.baselines import Random
    from vlground.contracts import Encoded, Scorer, TargetLayer
    from vlground.data.sample import Sample
    from vlground.metrics import QGroundCAM
    from vlground.preprocess import Preprocess
    from vlground.identity import Stage
    from vlground.store import EvidenceStore
    from vlground.tasks.grounding import Grounding

    class Nothing(Scorer):
        def __init__(self) -> None:
            super().__init__()
            self.preprocess = Preprocess(size=16)
            self.target_layers = (TargetLayer("none", self, "features", (14, 14)),)

        def encode(self, pixels):
            return Encoded(pixels, pixels)

    peaks: list[float] = []

    class Watch(lightning.Callback):
        def on_predict_batch_end(self, *_: object) -> None:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

        on_test_batch_end = on_predict_batch_end

    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    boxes = np.array([[8.0, 8, 40, 40]])
    samples = [Sample(f"{i}", f"{i // 5}", pixels, f"text {i}", boxes=boxes) for i in range(50_000)]
    with tempfile.TemporaryDirectory() as folder:
        task = Grounding(QGroundCAM(), samples, EvidenceStore(Path(folder), Stage("x", {}, {})))
        task.scorer, task.cam, task.batch_size = Nothing(), Random(), 50
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            callbacks=[Watch()],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        started = time.perf_counter()
        task.carry_out(trainer)
        seconds = time.perf_counter() - started
        task.scores()
        Watch().on_predict_batch_end()  # the table of all rows is built after the last batch
    tenth = peaks[len(peaks) // 20]
    print(f"50,000 samples drawn and scored in {seconds:.0f} s")
    print(f"peak memory: {tenth:.0f} MiB after 2,500 samples, {peaks[-1]:.0f} MiB at the end")


if __name__ == "__main__":
    main()
