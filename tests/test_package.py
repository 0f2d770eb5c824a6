"""What is shipped: the wheel, instant imports, the torchvision hook, the environment file."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement

from vlground.torchvision_hook import non_maximum_suppression

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_conf_and_data(unpacked: Path) -> None:
    here = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    there = {p.relative_to(unpacked / "vlground/conf") for p in unpacked.rglob("*.yaml")}
    assert here == there
    source = ROOT / "src"
    data = {p.relative_to(source) for p in (source / "vlground").rglob("*.json")}
    assert data
    assert all((unpacked / path).exists() for path in data)


def test_the_wheel_runs_outside_the_repository(unpacked: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "vlground", "--cfg", "job", "--resolve"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert yaml.safe_load(process.stdout)["model"]["variant"] == 0
    code = "import vlground.run; print(vlground.run.CONF)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == str(unpacked / "vlground" / "conf")


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


def test_environment_file() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]
    assert pip == {"pip": ["--constraint constraints.txt", "-e .[dev,launchers]"]}


def test_constraints_are_exact_and_have_no_local_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for line in lines:
        if not line.startswith("#"):
            (specifier,) = Requirement(line).specifier
            assert specifier.operator == "=="
            assert "+" not in specifier.version
