"""Official checkpoints are read whole, or refused in one line that names what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.models.matchers import ALBEF, TEXTS, at_size, noise, tiny_albef
from torch import Tensor
from transformers import ViTConfig
from transformers.models.vit.modeling_vit import ViTEmbeddings

from vlground.errors import VlgroundError
from vlground.models.albef import AlbefMatching
from vlground.models.albef_checkpoint import official_state, resize_positions
from vlground.models.albef_network import AlbefNetwork

State = dict[str, Tensor]
OWNER = torch.tensor([1, 0, 1])


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> AlbefMatching:
    return tiny_albef(tmp_path_factory.mktemp("albef"))


@pytest.fixture
def state(scorer: AlbefMatching) -> State:
    assert isinstance(scorer.network, AlbefNetwork)
    return {name: tensor.clone() for name, tensor in official_state(scorer.network).items()}


def scores(scorer: AlbefMatching) -> Tensor:
    return scorer.score(scorer.encode(noise()), TEXTS, OWNER)


def load(folder: Path, content: Any, **options: Any) -> AlbefMatching:
    file = folder / "checkpoint.pth"
    torch.save(content, file)
    return tiny_albef(folder, checkpoint=str(file), **options)


def refusal(folder: Path, content: Any, **options: Any) -> str:
    with pytest.raises(VlgroundError, match=r"model\.checkpoint=") as caught:
        load(folder, content, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_pretrained(state: State) -> State:
    """As the pre-training codes of ALBEF and AMC save it: BERT inside a language model."""
    named = {name.replace("text_encoder.", "text_encoder.bert."): state[name] for name in state}
    copies = {
        name.replace("encoder.", "encoder_m.", 1): torch.full_like(tensor, 9)
        for name, tensor in named.items()
        if "encoder." in name
    }
    unused = (
        "temp text_queue image_queue idx_queue queue_ptr queue_ptr_img vision_proj.weight "
        "text_proj.bias vision_proj_m.weight text_proj_m.bias text_encoder.cls.predictions.bias "
        "text_encoder_m.cls.predictions.bias text_encoder.bert.embeddings.position_ids"
    )
    return {**named, **copies, **{name: torch.zeros(3) for name in unused.split()}}


def test_both_ways_of_saving_are_unpacked(
    scorer: AlbefMatching, state: State, tmp_path: Path
) -> None:
    expected = scores(scorer)
    whole = {"model": as_pretrained(state), "epoch": 29, "config": {"image_res": 256}}
    for content in (whole, as_pretrained(state), {"model": state}, state):
        assert torch.equal(scores(load(tmp_path, content)), expected)


def test_a_saved_miniature_has_the_official_names(
    scorer: AlbefMatching, state: State, tmp_path: Path
) -> None:
    scorer.save(tmp_path / "new")
    file = tmp_path / "new" / "model.safetensors"
    saved = load_file(file)
    assert set(saved) == set(state)
    assert {tensor.dtype for tensor in saved.values()} == {torch.float16}
    again = AlbefMatching(str(file), architecture=ALBEF, layer=3)  # the vocabulary lies beside it
    torch.testing.assert_close(scores(again), scores(scorer), rtol=0.02, atol=0.02)


def test_every_tensor_comes_from_the_file(state: State, tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in state.items()}
    scorer = load(tmp_path, other)
    assert isinstance(scorer.network, AlbefNetwork)
    found = official_state(scorer.network)
    assert all(torch.equal(found[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("itm_head.weight"), "missing: itm_head.weight"),
        (
            lambda s: s.pop("visual_encoder.blocks.1.attn.qkv.bias"),
            "missing: visual_encoder.blocks.1.attn.qkv.bias",
        ),
        (
            lambda s: s.update({"text_encoder.extra": torch.zeros(1)}),
            "unexpected: text_encoder.extra",
        ),
        (
            lambda s: s.update({"itm_head.bias": torch.zeros(3)}),
            "of another shape: itm_head.bias (3,) for (2,)",
        ),
        (
            lambda s: s.update({"visual_encoder.pos_embed": torch.zeros(1, 12, 32)}),
            "of another shape: visual_encoder.pos_embed (1, 12, 32) for (1, 17, 32)",
        ),
    ],
)
def test_what_does_not_fit_is_listed(
    state: State, tmp_path: Path, change: Callable[[State], Any], told: str
) -> None:
    change(state)
    assert told in refusal(tmp_path, {"model": state})


def test_a_checkpoint_of_other_sizes_is_refused(state: State, tmp_path: Path) -> None:
    wider = {**ALBEF, "width": 48}
    told = refusal(tmp_path, state, architecture=wider)
    assert "of another shape: vision.embeddings.cls_token" not in told
    assert "visual_encoder.cls_token (1, 1, 32) for (1, 1, 48)" in told


class Code:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("run",))


def test_code_in_a_pickle_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a file of tensors alone" in refusal(tmp_path, {"model": Code()})
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], "holds no names and tensors"),
        ({"model": {}}, "not tensors"),
        ({"epoch": 3}, "not tensors: epoch"),
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path: Path, content: Any, told: str) -> None:
    assert told in refusal(tmp_path, content)


def test_damaged_files_are_refused_in_one_line(state: State, tmp_path: Path) -> None:
    file = tmp_path / "partial.pth"
    torch.save({"model": state}, file)
    whole = file.read_bytes()
    for content in (b"", b"no weights", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(VlgroundError, match=r"partial\.pth: ") as caught:
            tiny_albef(tmp_path, checkpoint=str(file))
        assert "\n" not in str(caught.value)
    with pytest.raises(VlgroundError, match="no such file"):
        tiny_albef(tmp_path, checkpoint=str(tmp_path / "absent.pth"))


@pytest.mark.parametrize(("here", "there"), [(24, 16), (14, 24), (16, 16)])
def test_positions_are_interpolated_as_by_transformers(here: int, there: int) -> None:
    torch.manual_seed(0)
    config = ViTConfig(image_size=here * 16, hidden_size=8, num_attention_heads=2)
    embeddings = ViTEmbeddings(config)
    side, cells = there * 16, there * there
    expected = embeddings.interpolate_pos_encoding(torch.zeros(1, cells + 1, 8), side, side)
    found = resize_positions(embeddings.position_embeddings.detach(), cells + 1)
    torch.testing.assert_close(found, expected.detach())


def test_a_checkpoint_is_read_at_another_image_size(
    scorer: AlbefMatching, state: State, tmp_path: Path
) -> None:
    larger = load(tmp_path, {"model": state}, preprocess=at_size(48))
    assert larger.target_layers[-1].grid == (6, 6)
    smooth = torch.nn.functional.interpolate(noise(), (48, 48), mode="bicubic")
    score = larger.score(larger.encode(smooth), TEXTS, OWNER)
    assert score.isfinite().all()
    assert (score - scores(scorer)).abs().max() > 1e-4
