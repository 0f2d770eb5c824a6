"""What vlground adds to Hydra and to the bare model loop.

    .venv/bin/python benchmarks/overhead.py

Hydra's own time is that of the same command with a job that does nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOTHING = """
import hydra
from vlground.run import CONF

@hydra.main(version_base="1.3", config_path=str(CONF), config_name="run")
def nothing(config):
    pass

nothing()
"""


def main() -> None:
    """Print every figure beside what is asked."""
    print(
        f"import vlground:            {best('-c', 'import vlground') - best('-c', ''):6.3f} s (0.1)"
    )
    print(f"vlground --help:            {best('-m', 'vlground', '--help'):6.2f} s (2)")
    with tempfile.TemporaryDirectory() as folder:
        sweeps(Path(folder))
        loop(Path(folder))


def sweeps(folder: Path) -> None:
    """A finished sweep again, and a sweep whose last ten cells are new."""
    (folder / "nothing.py").write_text(NOTHING)

    def grid(cells: int) -> list[str]:
        values = ",".join(f"{(i + 1) / 1000:g}" for i in range(cells))
        return ["-m", "cam=uniform", "limit=1", "logger=none", f"metric.threshold={values}"]

    run(folder, "-m", "vlground", *grid(100))
    again = timed(folder, "-m", "vlground", *grid(100))
    own = timed(folder, str(folder / "nothing.py"), *grid(100))
    print(f"100 cells, all done:        {again:6.1f} s, Hydra's own {own:.1f} s (+ 3)")
    run(folder, "-m", "vlground", *grid(190))
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "vlground", *grid(200)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    first = next(
        time.perf_counter() - started for line in process.stdout if "1 of 1 samples" in line
    )
    process.stdout.read()
    process.wait()
    own = timed(folder, str(folder / "nothing.py"), *grid(191))
    print(f"190 of 200 done, first new: {first:6.1f} s, Hydra's own {own:.1f} s (+ 5)")


def loop(folder: Path) -> None:
    """The task in Lightning, evidence stored, against the model in a plain loop."""
    import vlground  # noqa: F401, I001  (its torchvision hook comes before lightning)
    import lightning
    import torch

    from vlground.cams.gradient import GradCAM
    from vlground.config import build_scorer
    from vlground.data.batches import image_loader
    from vlground.data.photos import Photos
    from vlground.metrics import QGroundCAM
    from vlground.identity import Stage
    from vlground.store import EvidenceStore
    from vlground.tasks.grounding import Grounding

    photos = Photos(seed=0)
    from dataclasses import replace

    samples = [
        replace(photos[i], id=f"{n}/{photos[i].id}", image_id=f"{n}/{photos[i].image_id}")
        for n in range(12)
        for i in range(len(photos))
    ]
    node = {"_target_": "vlground.models.efficientnet_lite.EfficientNetLite", "variant": 2}
    node["sha256"] = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    node["preprocess"] = {"_target_": "vlground.preprocess.Preprocess", "size": 260}
    scorer, cam = build_scorer(node), GradCAM()

    def bare() -> None:
        for batch in image_loader(samples, scorer.preprocess, 16, 0):
            with torch.no_grad():
                encoded = scorer.encode(batch.pixels)
            texts = [sample.text for sample in batch.samples]
            cam(scorer, encoded, texts, batch.owner, batch.samples)

    def task(number: int) -> None:
        store = EvidenceStore(folder / f"store{number}", Stage("prediction", {}, {}))
        grounding = Grounding(QGroundCAM(), samples, store)
        grounding.scorer, grounding.cam = scorer, cam
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.predict(grounding, return_predictions=False)

    bare()
    pairs = [(clock(bare), clock(lambda n=n: task(n))) for n in range(5)]
    ratios = sorted(with_task / alone for alone, with_task in pairs)
    print(f"over the bare model loop:   {100 * (ratios[2] - 1):5.1f} % (10; median of 5 pairs)")


def clock(work) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def best(*arguments: str) -> float:
    """Shortest of three runs of Python."""
    return min(timed(Path.cwd(), *arguments) for _ in range(3))


def timed(folder: Path, *arguments: str) -> float:
    """Seconds of one run of Python."""
    started = time.perf_counter()
    run(folder, *arguments)
    return time.perf_counter() - started


def run(folder: Path, *arguments: str) -> None:
    """Run Python in a folder."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)


if __name__ == "__main__":
    main()
