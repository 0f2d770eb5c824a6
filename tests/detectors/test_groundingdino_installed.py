"""The adapter to groundingdino-py against the package's own `predict`, where it is installed."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from tests.detectors.grounded import WORDS, write_vocabulary

from vlground.data.sample import Sample
from vlground.detectors.groundingdino_package import (
    BertText,
    GroundingDinoPackageDetector,
    to_pixels,
)
from vlground.errors import VlgroundError

pytest.importorskip("groundingdino", reason="the extra groundingdino is not installed")

PHRASES = ["Cat", "wine glasses", "ping pong"]
CAPTION = "cat . ping pong . wine glasses ."
COLUMNS = {"Cat": [1], "ping pong": [3, 4], "wine glasses": [6, 7, 8]}
SMALLER = {
    "enc_layers = 6": "enc_layers = 1",
    "dec_layers = 6": "dec_layers = 2",
    "dim_feedforward = 2048": "dim_feedforward = 64",
    "num_queries = 900": "num_queries = 20",
}


@pytest.fixture(scope="module")
def photo() -> PIL.Image.Image:
    """A strip of a real photo: a whole one takes some seconds."""
    from skimage.data import astronaut

    return PIL.Image.fromarray(astronaut()[80:160])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The published configuration with fewer layers, and random weights in the published layout."""
    import groundingdino
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("package")
    write_vocabulary(folder / "bert")
    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=1030 + len(WORDS),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
    )
    BertModel(bert).save_pretrained(folder / "bert")
    published = Path(groundingdino.__file__).parent / "config" / "GroundingDINO_SwinT_OGC.py"
    text = published.read_text()
    for old, new in {**SMALLER, '"bert-base-uncased"': repr(str(folder / "bert"))}.items():
        assert old in text
        text = text.replace(old, new)
    config, checkpoint = folder / "config.py", folder / "weights.pth"
    config.write_text(text)
    network = _theirs(config)
    for weight in network.bbox_embed.parameters():  # they begin as zeros
        torch.nn.init.normal_(weight, std=0.1)
    network.transformer.decoder.norm.weight.data *= 0.05  # logits that a sigmoid does not flatten
    # As published: names with a prefix, and two tensors that nobody asks for.
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    state["module.label_enc.weight"] = state["module.bert.embeddings.position_ids"] = torch.zeros(1)
    torch.save({"model": state}, checkpoint)
    return str(config), str(checkpoint)


def _theirs(config: Path) -> Any:
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("groundingdino.models.GroundingDINO.groundingdino.BertModelWarper", BertText)
        options = SLConfig.fromfile(str(config))
        options.device = "cpu"
        return build_model(options)


@pytest.fixture(scope="module")
def theirs(files: tuple[str, str]) -> Any:
    """The package's own network, from the same files as its `load_model` reads them."""
    from groundingdino.util.misc import clean_state_dict

    network = _theirs(Path(files[0]))
    content = torch.load(files[1], weights_only=True)
    assert not network.load_state_dict(clean_state_dict(content["model"]), strict=False)[0]
    return network.eval()


@pytest.fixture(scope="module")
def ours(files: tuple[str, str]) -> GroundingDinoPackageDetector:
    return GroundingDinoPackageDetector(*files, threshold=0.3, device="cpu")


@pytest.fixture
def seen(theirs: Any, ours: Any) -> Iterator[dict[str, list[dict[str, torch.Tensor]]]]:
    """What either network gives, as it comes."""
    made: dict[str, list[dict[str, torch.Tensor]]] = {"theirs": [], "ours": []}
    hooks = [
        network.register_forward_hook(lambda m, i, o, to=made[name]: to.append(o))
        for name, network in (("theirs", theirs), ("ours", ours.network))
    ]
    yield made
    for hook in hooks:
        hook.remove()


def _predict(network: Any, photo: PIL.Image.Image, caption: str, folder: Path) -> Any:
    """As the package's documentation has it, from a file."""
    from groundingdino.util.inference import load_image, predict

    photo.save(folder / "photo.png")
    _, pixels = load_image(str(folder / "photo.png"))
    assert torch.equal(pixels, to_pixels(photo))
    return predict(network, pixels, caption, 0.0, 0.0, device="cpu")


def _ask(detector: GroundingDinoPackageDetector, photo: PIL.Image.Image, *asked: str) -> Any:
    return detector.detect([Sample("a", "a", np.asarray(photo), "")], [asked])[0]


def test_logits_and_boxes_are_those_of_predict(
    theirs: Any, ours: Any, seen: Any, photo: PIL.Image.Image, tmp_path: Path
) -> None:
    boxes, best, _ = _predict(theirs, photo, CAPTION, tmp_path)
    found = _ask(ours, photo, *PHRASES)
    ((given,), (made,)) = seen["theirs"], seen["ours"]
    assert torch.equal(made["pred_logits"], given["pred_logits"])
    assert torch.equal(made["pred_boxes"], given["pred_boxes"])
    logits = given["pred_logits"][0]
    assert logits[:, :11].isfinite().all()
    assert best.tolist() == logits.sigmoid().amax(dim=1).tolist()
    ids = theirs.tokenizer(CAPTION).input_ids
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
    width, height = photo.size
    limits = torch.tensor([width, height, width, height])
    corners = (corners * limits).clamp(min=0).minimum(limits)
    for phrase, one in zip(PHRASES, found, strict=True):
        columns = COLUMNS[phrase]
        assert theirs.tokenizer.decode([ids[c] for c in columns]) == phrase.lower()
        scores = logits.sigmoid()[:, columns].mean(dim=1)
        assert 0.01 < one.probability < 0.99
        assert one.probability == pytest.approx(float(scores.max()), abs=1e-6)
        order = scores.argsort(descending=True)
        order = order[scores[order] > 0.3]
        np.testing.assert_allclose(one.scores, scores[order], atol=1e-6)
        np.testing.assert_allclose(one.boxes, corners[order], atol=1e-3)
    assert 0 < sum(len(one.boxes) for one in found) < 3 * len(boxes)


def test_a_pass_a_phrase_is_predict_of_the_phrase(
    files: Any, theirs: Any, ours: Any, seen: Any, photo: PIL.Image.Image, tmp_path: Path
) -> None:
    lone = GroundingDinoPackageDetector(*files, joint=False, pool="max", device="cpu")
    cat, *_, nothing = _ask(lone, photo, "cat", "ping pong", " ? ")
    _predict(theirs, photo, "cat .", tmp_path)
    logits = seen["theirs"][0]["pred_logits"][0]
    assert cat.probability == float(logits[:, 1].sigmoid().max())
    assert cat.probability != pytest.approx(_ask(ours, photo, *PHRASES)[0].probability, abs=1e-4)
    assert math.isnan(nothing.probability)


def test_another_text_encoder_is_taken_and_the_package_stays_as_it_is(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from groundingdino.models.GroundingDINO import bertwarper, groundingdino
    from transformers import BertModel

    config, checkpoint = files
    elsewhere = tmp_path / "config.py"
    folder = str(Path(config).parent / "bert")
    elsewhere.write_text(Path(config).read_text().replace(folder, str(tmp_path)))
    told = rf"^detector\.config with detector\.text_encoder={tmp_path}: cannot be built: "
    with pytest.raises(VlgroundError, match=told):
        GroundingDinoPackageDetector(str(elsewhere), checkpoint)
    BertModel.from_pretrained(folder).half().save_pretrained(tmp_path / "half")
    write_vocabulary(tmp_path / "half")
    given = GroundingDinoPackageDetector(str(elsewhere), checkpoint, str(tmp_path / "half"))
    assert {weight.dtype for weight in given.network.parameters()} == {torch.float32}
    assert not any(getattr(part, "use_checkpoint", False) for part in given.network.modules())
    assert groundingdino.BertModelWarper is bertwarper.BertModelWarper
    assert capsys.readouterr().out == ""


def test_weights_and_configs_of_another_kind_are_refused(
    files: tuple[str, str], tmp_path: Path
) -> None:
    config, checkpoint = files
    state = torch.load(checkpoint, weights_only=True)["model"]
    path = tmp_path / "weights.pth"
    state.pop("module.feat_map.weight")
    torch.save({"model": state}, path)
    with pytest.raises(VlgroundError, match=r"detector\.config; missing: feat_map\.weight$"):
        GroundingDinoPackageDetector(config, str(path))
    torch.save({"model": state | {"module.feat_map.weight": torch.zeros(2)}}, path)
    with pytest.raises(VlgroundError, match=r"weights\.pth: not of this detector\.config$"):
        GroundingDinoPackageDetector(config, str(path))
    path.write_bytes(b"no tensors")
    with pytest.raises(VlgroundError, match=r"weights\.pth: no file of tensors$"):
        GroundingDinoPackageDetector(config, str(path))
    for line in ('modelname = "other"', 'backbone = "swin_X"', "enc_layers = 'two'"):
        (tmp_path / "config.py").write_text(f"{Path(config).read_text()}\n{line}\n")
        with pytest.raises(VlgroundError, match=r"^detector\.config with .*: cannot be built: "):
            GroundingDinoPackageDetector(str(tmp_path / "config.py"), checkpoint)
