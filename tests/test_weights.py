"""What was fetched is found offline, and what was loaded is in the results."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli import ENVIRONMENT, results
from tests.loopback import COMMIT, Loopback, be_the_hub, serving
from vlground.errors import VlgroundError
from vlground.fetch import fetch
from vlground.identity import checksums
from vlground.models import two_tower
from vlground.weights import is_on_hub, library_weights, vocabulary_beside

MINIATURES = Path(two_tower.__file__).parents[1] / "miniatures"
OTHER = "f" * 40
CLIP = {
    "_target_": "vlground.models.clip.ClipScorer",
    "architecture": "RN50x16-quickgelu",
    "pretrained": "openai",
}


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as server:
        yield server


def python(*arguments: str, cwd: Path, code: int = 0, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, "HF_HOME": str(cwd / "hub"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout + process.stderr


def folder(name: str) -> dict[str, bytes]:
    files = [path for path in (MINIATURES / name).iterdir() if path.suffix != ".md"]
    return {path.name: path.read_bytes() for path in files}


OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
SIGLIP_NAME = "google/siglip2-base-patch16-224"
BLIP = ["model=mini_blip", "model.pretrained=a/blip"]
ALBEF = ["model=mini_albef", "model.tokenizer=a/vocabulary"]
FINDS = f"""
import json, vlground, open_clip
from vlground.config import build, unidentified
from vlground.fetching.cells import compose_cells
from vlground.models.siglip import SiglipScorer
from vlground.identity import checksums
file = open_clip.download_pretrained(open_clip.get_pretrained_cfg("RN50x16-quickgelu", "openai"))
told = {{"clip": open(file).read(), "of_clip": checksums({CLIP!r})["pretrained"]}}
for name, words in {{"blip": {BLIP!r}, "albef": {ALBEF!r}}}.items():
    ((_, cell),) = compose_cells(words)
    told[name], _ = checksums(cell["model"]), build(cell["model"])
    assert not unidentified(cell["model"])
told["siglip"] = SiglipScorer({SIGLIP_NAME!r}).knows("red")
print("TOLD", json.dumps(told))
"""

LOADS = f"""
import vlground
from vlground.config import build_scorer
from vlground.errors import VlgroundError
from vlground.fetching.cells import compose_cells
from vlground.identity import checksums
((_, cell),) = compose_cells({BLIP!r})
node = {{{{**cell["model"], "revision": {{revision!r}}}}}}
try:
    build_scorer(node)
except VlgroundError as error:
    print("REFUSED", error)
    build_scorer(node)
print("WEIGHTS", checksums(node)["pretrained"])
"""


def siglip_in_shards(made: Path) -> dict[str, bytes]:
    from transformers import SiglipConfig, SiglipModel

    from tests.models.test_siglip import SIGLIP, write_tokenizer

    SiglipModel(SiglipConfig(**SIGLIP)).save_pretrained(made, max_shard_size="50KB")
    write_tokenizer(made)
    return {path.name: path.read_bytes() for path in made.iterdir()}


def test_what_is_fetched_is_what_is_loaded_offline(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_the_hub(server, tmp_path / "hub" / "hub", monkeypatch)
    clip = {"open_clip_model.safetensors": b"weights of CLIP", "open_clip_config.json": b"{}"}
    clip |= {"open_clip_pytorch_model.bin": b"a pickle", "model.safetensors": b"of timm"}
    vocabulary = {n: body for n, body in folder("mini_albef").items() if "tokenizer" in n}
    siglip = siglip_in_shards(tmp_path / "made")
    assert "model.safetensors.index.json" in siglip, "not in shards"
    server.repositories |= {"timm/resnet50x16_clip.openai": clip, "a/blip": folder("mini_blip")}
    server.repositories |= {"a/vocabulary": vocabulary, SIGLIP_NAME: siglip}
    (state,) = fetch(["model=clip_rn50x16"])
    taken = {path.rpartition("/")[2] for _, path, _ in server.requests if "/resolve/" in path}
    assert taken == {"open_clip_model.safetensors"}, "else than open_clip loads"
    states = [state, *fetch(["model=siglip"]), *fetch(BLIP), *fetch(ALBEF)]
    assert [state.here for state in states] == [True] * 4
    lines = python("-c", FINDS, cwd=tmp_path, **OFFLINE).splitlines()
    told = json.loads(next(line for line in lines if line.startswith("TOLD"))[4:])
    assert told["clip"] == "weights of CLIP"
    assert told["of_clip"] == hashlib.sha256(b"weights of CLIP").hexdigest()
    assert told["blip"]["pretrained"] == f"a/blip@{COMMIT}"
    assert told["albef"]["tokenizer"] == f"a/vocabulary@{COMMIT}"
    assert len(told["albef"]["checkpoint"]) == 64
    assert told["siglip"] is True


@pytest.mark.slow  # by the command, several times
def test_the_commit_is_in_the_results(server: Loopback, tmp_path: Path) -> None:
    """Also that of the first run, which brings the weights."""
    server.repositories["a/blip"] = folder("mini_blip")
    words = ["-m", "vlground", *BLIP, "cam=attention_gradcam", "dataset=shapes_phrases"]
    words += ["dataset.samples=4", "logger=none", "trainer=cpu"]
    python(*words, cwd=tmp_path, HF_ENDPOINT=server.url, HF_HUB_DISABLE_XET="1")
    (result,) = results(tmp_path / "runs")
    assert result["weights"] == {"model.pretrained": f"a/blip@{COMMIT}"}
    assert result["identity"]["stage"]["checksums"] == result["weights"]
    assert "done already" in python(*words, cwd=tmp_path, **OFFLINE)
    # The hub has a newer commit: a run keeps to the one that its maps are stored under.
    server.requests.clear()
    server.commit = OTHER
    online = {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"}
    output = python("-c", LOADS.format(revision=None), cwd=tmp_path, **online)
    assert f"WEIGHTS a/blip@{COMMIT}" in output
    assert not any("main" in path for _, path, _ in server.requests)
    output = python("-c", LOADS.format(revision="main"), cwd=tmp_path, **online)
    assert "REFUSED model.pretrained: newer weights came from the hub" in output
    assert f"WEIGHTS a/blip@{OTHER}" in output


def test_weights_that_nobody_has_are_one_line(tmp_path: Path) -> None:
    words = ["-m", "vlground", "model=blip_base", "cam=uniform", "logger=none"]
    output = python(*words, cwd=tmp_path, code=1, **OFFLINE)
    assert "model.pretrained=Salesforce/blip-itm-base-coco: " in output
    assert "not in the hub's cache" in output
    assert "Traceback" not in output


def test_the_vocabulary_beside_a_checkpoint_counts(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"weights")
    (tmp_path / "vocab.txt").write_text("[CLS]\n")
    node: dict[str, Any] = {"checkpoint": str(tmp_path / "a.pth"), "tokenizer": None}
    first = checksums(node)
    assert set(first) == {"checkpoint", "tokenizer"}
    (tmp_path / "b.pth").write_bytes(b"another checkpoint in the same folder")
    assert checksums(node) == first
    (tmp_path / "vocab.txt").write_text("[CLS]\nred\n")
    second = checksums(node)
    assert second["checkpoint"] == first["checkpoint"]
    assert second["tokenizer"] != first["tokenizer"]
    assert vocabulary_beside({**node, "tokenizer": "bert-base-uncased"}) == []
    assert vocabulary_beside({"checkpoint": str(tmp_path / "a.pth")}) == [], "it reads none"


def test_a_name_on_the_hub_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_on_hub("a/name")
    (tmp_path / "a" / "name").mkdir(parents=True)
    assert not is_on_hub("a/name")
    assert not is_on_hub(True)


def test_a_revision_says_it_without_a_cache() -> None:
    node = {"pretrained": "nobody/has-it", "revision": OTHER, "tokenizer": "nobody/has-it-either"}
    assert checksums(node) == {
        "pretrained": f"nobody/has-it@{OTHER}",
        "tokenizer": "nobody/has-it-either",
    }


def test_libraries_have_no_weights_of_another_name() -> None:
    assert library_weights({**CLIP, "pretrained": None}) is None
    assert library_weights({"_target_": "mine.Mine", "pretrained": True}) is None
    with pytest.raises(VlgroundError, match=r"^model\.pretrained=nothing: open_clip's weights of"):
        library_weights({**CLIP, "pretrained": "nothing"})
    torchvision = "vlground.models.torchvision_classifier.TorchvisionClassifier"
    node = {"_target_": torchvision, "architecture": "resnet18", "pretrained": True, "weights": "X"}
    with pytest.raises(VlgroundError, match=r"^model\.weights=X: torchvision has IMAGENET1K_V1"):
        library_weights(node)
    assert checksums(node) == {"pretrained": "True"}, "the model itself says it"


def test_data_are_looked_for_before_weights_and_a_dry_run_fetches_none(tmp_path: Path) -> None:
    words = ["-m", "vlground", "model=blip_base", "cam=uniform", "logger=none"]
    output = python(*words, "dataset=flickr30k_entities", cwd=tmp_path, code=1, **OFFLINE)
    assert "dataset.root=None: expected a" in output
    assert "hub's cache" not in output
    output = python(*words, "sweep.dry_run=true", cwd=tmp_path, **OFFLINE)
    assert "to do, its weights are not here" in output
