"""What is shipped: the wheel, instant imports, the torchvision hook."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from tests.cli import ENVIRONMENT, results
from vlground.torchvision_hook import non_maximum_suppression

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_carries_conf_experiments_and_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if "dist-info" not in name}
    for folder in ("conf", "experiments"):
        here = {f"vlground/{p.relative_to(ROOT)}" for p in files(ROOT / folder)}
        assert here == {name for name in there if name.startswith(f"vlground/{folder}/")}
    source = {str(p.relative_to(ROOT / "src")) for p in files(ROOT / "src")}
    assert source == {n for n in there if not n.startswith(("vlground/conf/", "vlground/experi"))}


def files(folder: Path) -> list[Path]:
    """Those of a folder that are not made by running it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and its commands; the rest is that of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Only packages: what an editable installation adds to the path is not read from there.
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return folder / "bin"


RUNS = """
import sys
from pathlib import Path
import vlground
from vlground.command import main
assert Path(vlground.__file__).is_relative_to(sys.prefix), vlground.__file__
for words in (
    "limit=2 logger=none",
    "model=mini_blip cam=attention_gradcam dataset=shapes_phrases limit=2 logger=none",
):
    sys.argv = ["vlground", *words.split()]
    main()
"""


def test_the_installed_wheel_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    def run(*command: str) -> str:
        process = subprocess.run(
            [str(installed / command[0]), *command[1:]],
            cwd=tmp_path,
            env={name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    page = run("vlground", "--help")
    assert "mini_blip" in page
    assert "q_groundcam_table1" in page
    composed = yaml.safe_load(run("vlground", "--cfg", "job", "--resolve"))
    assert composed["model"]["variant"] == 0
    assert not list(tmp_path.iterdir())
    output = run("python", "-c", RUNS)
    assert output.count("2 of 2 samples") == 2
    made = {result["choices"]["dataset"] for result in results(tmp_path / "runs")}
    assert made == {"photos", "shapes_phrases"}
    assert "mini_blip" in run("vlground-report", "runs")
    assert (tmp_path / "runs" / "report.html").stat().st_size > 10_000
    # The published table of experiments/ is found too.
    published = run("vlground-report", "runs", "experiment=q_groundcam_table1", "--no-page")
    assert "published" in published
    assert "0.6008" in published


def test_import_is_instant() -> None:
    code = (
        "import sys; before = set(sys.modules); import vlground\n"
        "heavy = {'torch', 'numpy', 'hydra', 'lightning', 'PIL'} & (set(sys.modules) - before)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_data_sets_do_not_import_torch() -> None:
    code = "import sys, vlground.data.photos, vlground.data.voc\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchvision_imports_and_what_needs_it() -> None:
    code = (
        "import vlground, torchvision, timm, lightning, pytorch_grad_cam, torch\n"
        "from transformers import CLIPModel\n"
        "boxes = torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]])\n"
        "kept = torch.ops.torchvision.nms(boxes, torch.tensor([.1, .9, .5]), .5)\n"
        "assert kept.tolist() == [1, 2], kept\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _literal_nms(boxes: list, scores: list, threshold: float) -> list[int]:
    def iou(a: list, b: list) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        overlap = max(width, 0) * max(height, 0)
        areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        return overlap / (sum(areas) - overlap)

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("n", [0, 1, 2, 60])
def test_non_maximum_suppression(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    corner, size = torch.rand(2, n, 2, generator=generator)
    boxes, scores = torch.cat([corner, corner + size + 0.1], 1), torch.rand(n, generator=generator)
    for threshold in (0.1, 0.5, 0.9):
        kept = non_maximum_suppression(boxes, scores, threshold)
        assert kept.dtype == torch.int64
        assert kept.tolist() == _literal_nms(boxes.tolist(), scores.tolist(), threshold)
