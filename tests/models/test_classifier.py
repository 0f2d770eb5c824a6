"""Every family of classifiers, cut in two, is the plain network: logits, gradients, maps."""

import copy
from pathlib import Path

import pytest
import torch
from tests.models.classifiers import CLASSES, FAMILIES, SIZE, Planted, timm_small
from torch import Tensor, nn

from vlground.cams.gradient import GradCAM, HiResCAM
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.gradients import Recording, differentiate
from vlground.models.classifier import ImageClassifier
from vlground.models.timm_classifier import TimmClassifier
from vlground.preprocess import Preprocess

TEXTS = ["beagle", "zebra", "space shuttle"]
COLUMNS = [1, 5, 4]
OWNER = torch.tensor([0, 0, 1])


@pytest.fixture(params=FAMILIES, scope="module")
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def scorer(family: str, tmp_path_factory: pytest.TempPathFactory) -> ImageClassifier:
    return FAMILIES[family][0](tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def plain(scorer: ImageClassifier, pixels: Tensor, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, and the layer and its gradient in the unsplit network, each pair run by itself."""
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for image, column in zip(OWNER, COLUMNS, strict=True):
        seen: list[Tensor] = []
        module = scorer.network.get_submodule(layer)

        def see(m: nn.Module, i: object, output: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(output)
            return output.clone()  # what follows may write in place

        handle = module.register_forward_hook(see)
        leaf = pixels[image][None].clone().requires_grad_()
        score = scorer.run(scorer.network, leaf)[0, column]
        handle.remove()
        (gradient,) = torch.autograd.grad(score, seen[0])
        rows.append((score.detach(), seen[0][0].detach(), gradient[0]))
    scores, outputs, gradients = zip(*rows, strict=True)
    return torch.stack(scores), torch.stack(outputs), torch.stack(gradients)


def test_layer_and_cut(scorer: ImageClassifier, family: str, pixels: Tensor) -> None:
    _, layer, grid, cut = FAMILIES[family]
    (target,) = scorer.target_layers
    assert (target.name, target.grid, target.kind) == (layer, (grid, grid), "features")
    assert scorer.cut.at is not None
    assert scorer.cut.at.name == cut


def test_is_the_plain_network(scorer: ImageClassifier, pixels: Tensor) -> None:
    (layer,) = scorer.target_layers
    scores, output, gradient = plain(scorer, pixels, layer.name)
    encoded = scorer.encode(pixels)
    assert scores.std() > 0
    torch.testing.assert_close(scorer.score(encoded, TEXTS, OWNER), scores, rtol=1e-4, atol=1e-5)
    (a,), (g,) = differentiate(scorer, [layer], encoded, TEXTS, OWNER)
    if output.ndim == 4 and output.shape[1] == output.shape[2]:  # the network's channels are last
        output, gradient = output.permute(0, 3, 1, 2), gradient.permute(0, 3, 1, 2)
    scale = float(gradient.abs().max())
    assert scale > 0
    torch.testing.assert_close(a, output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(g, gradient, rtol=1e-3, atol=1e-4 * scale)


def test_rows_are_independent(scorer: ImageClassifier, pixels: Tensor) -> None:
    together = scorer.score(scorer.encode(pixels), TEXTS, OWNER)
    for q, text in enumerate(TEXTS):
        alone = scorer.encode(pixels[OWNER[q]][None])
        torch.testing.assert_close(
            scorer.score(alone, [text], torch.tensor([0]))[0], together[q], rtol=1e-4, atol=1e-5
        )


def test_gradcam(scorer: ImageClassifier, pixels: Tensor) -> None:
    samples = [Sample(text, "i", Path(), text) for text in TEXTS]
    with torch.no_grad():
        maps = GradCAM()(scorer, scorer.encode(pixels), TEXTS, OWNER, samples)
    assert maps.shape == (3, *scorer.target_layers[0].grid)
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).any()


def test_trunk_runs_once_an_image(scorer: ImageClassifier, pixels: Tensor) -> None:
    runs: list[str] = []
    first = next(m for m in scorer.network.modules() if isinstance(m, nn.Conv2d))
    weight = first.weight

    class Count(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            if function.__name__ == "conv2d" and arguments[1] is weight:
                runs.append("")
            return function(*arguments, **(options or {}))

    with Count():
        encoded = scorer.encode(pixels)
        assert len(runs) == 1
        scorer.score(encoded, TEXTS, OWNER)
        differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    assert len(runs) == 1


def test_bf16_copy(scorer: ImageClassifier, pixels: Tensor) -> None:
    exact = scorer.score(scorer.encode(pixels), TEXTS, OWNER)
    half, bright = copy.deepcopy(scorer).bfloat16(), pixels.bfloat16()
    (a,), (g,) = differentiate(half, half.target_layers, half.encode(bright), TEXTS, OWNER)
    scores = half.score(half.encode(bright), TEXTS, OWNER)
    assert scores.dtype is torch.bfloat16
    assert a.isfinite().all()
    assert g.isfinite().all()
    torch.testing.assert_close(scores.float(), exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))
    assert all(parameter.grad is None for parameter in half.parameters())
    assert torch.equal(scorer.score(scorer.encode(pixels), TEXTS, OWNER), exact)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet10t"]
)
def test_grid_is_timms_own(name: str, pixels: Tensor) -> None:
    options = {} if name == "resnet10t" else {"img_size": SIZE}
    scorer = timm_small(name, **options)(Path())
    network = scorer.network
    last = network.forward_intermediates(pixels, indices=1, intermediates_only=True)[-1]
    assert scorer.target_layers[-1].grid == tuple(last.shape[-2:])


@pytest.mark.parametrize("layout", ["maps", "channels last", "tokens"])
@pytest.mark.parametrize(("row", "column"), [(1, 2), (3, 0)])
def test_planted_cell_is_found(layout: str, row: int, column: int) -> None:
    scorer = ImageClassifier(
        Planted(layout), Preprocess(size=32), layer="place", classes=Planted.classes()
    )
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    text, owner = [f"{row} {column}"], torch.tensor([0])
    samples = [Sample("a", "i", Path(), text[0])]
    encoded = scorer.encode(image)
    (cam,) = HiResCAM()(scorer, encoded, text, owner, samples)
    expected = torch.zeros(4, 4)
    expected[row, column] = image[0, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].mean()
    torch.testing.assert_close(cam, expected)
    brighter = image.clone()
    brighter[..., row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 1
    gain = scorer.score(scorer.encode(brighter), text, owner) - scorer.score(encoded, text, owner)
    torch.testing.assert_close(gain, torch.ones(1))


@pytest.mark.parametrize(
    ("layer", "cut", "architecture"),
    [
        ("layer2.0.conv1", "layer1", "resnet10t"),
        ("layer2.0.bn2", "layer1", "resnet10t"),  # what follows writes in place
        ("conv1.0", "conv1.0", "resnet10t"),
        ("patch_embed", "patch_embed", "vit"),
        ("blocks.1.norm1", "blocks.0", "vit"),
        ("blocks.1.mlp.fc2", "blocks.0", "vit"),
    ],
)
def test_any_named_layer(layer: str, cut: str, architecture: str, pixels: Tensor) -> None:
    options = {"img_size": SIZE, "depth": 3, "global_pool": "avg"} if architecture == "vit" else {}
    name = "vit_tiny_patch16_224" if architecture == "vit" else architecture
    network = timm_small(name, **options)(Path()).network
    scorer = ImageClassifier(network, Preprocess(size=SIZE), layer=layer, classes=CLASSES)
    assert scorer.cut.at is not None
    assert scorer.cut.at.name == cut
    _, output, gradient = plain(scorer, pixels, layer)
    encoded = scorer.encode(pixels)
    (a,), (g,) = differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    torch.testing.assert_close(a, output, rtol=1e-4, atol=1e-5)
    scale = float(gradient.abs().max())
    torch.testing.assert_close(g, gradient, rtol=1e-3, atol=1e-4 * scale)


def test_leak_too_small_to_see_is_no_cut() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(SIZE, 16, 3, 2, 32, 48, num_classes=len(CLASSES))
    assert not network.heads[0].weight.any()  # every logit is 0, whatever lies around the cut
    scorer = ImageClassifier(network, Preprocess(size=SIZE), classes=CLASSES)
    assert scorer.target_layers[0].name == "encoder.layers.encoder_layer_2.ln_1"
    assert scorer.cut.at is not None
    assert scorer.cut.at.name == "encoder.layers.encoder_layer_1"


def test_more_prefix_tokens_than_image_tokens() -> None:
    scorer = TimmClassifier(
        "vit_small_patch14_reg4_dinov2", False, classes=CLASSES, preprocess=Preprocess(size=28)
    )
    (layer,) = scorer.target_layers
    assert layer.grid == (2, 2)
    assert layer.token_mask is not None
    assert layer.token_mask.tolist() == [False] * 5 + [True] * 4


class TwoRoads(nn.Module):
    """The pixels reach the logits around every module, so nothing but they can be the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, stride=8)
        self.head = nn.Linear(6, len(CLASSES))

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.conv(pixels).relu().mean((2, 3))
        return self.head(maps) + pixels.mean((1, 2, 3))[:, None]


def test_without_a_cut_the_network_runs_on_pixels(pixels: Tensor) -> None:
    torch.manual_seed(0)
    with pytest.raises(VlgroundError, match=r"model\.layer: none found.*conv"):
        ImageClassifier(TwoRoads(), Preprocess(size=SIZE), classes=CLASSES)
    scorer = ImageClassifier(TwoRoads(), Preprocess(size=SIZE), layer="conv", classes=CLASSES)
    assert scorer.cut.at is None
    scores, output, gradient = plain(scorer, pixels, "conv")
    encoded = scorer.encode(pixels)
    torch.testing.assert_close(scorer.score(encoded, TEXTS, OWNER), scores)
    (a,), (g,) = differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    torch.testing.assert_close((a, g), (output, gradient))


def test_targets_and_groups(pixels: Tensor) -> None:
    network = timm_small("resnet10t")(Path()).network
    names = ["fox", "dog", "cat", "Dog", "shuttle", "zebra"]
    logits = network(pixels)
    for target in ("logit", "log_probability"):
        scorer = ImageClassifier(network, Preprocess(size=SIZE), target=target, classes=names)
        encoded = scorer.encode(pixels)
        rows = logits if target == "logit" else logits.log_softmax(1)
        found = scorer.score(encoded, ["DOG", "zebra"], torch.tensor([1, 0]))
        expected = torch.stack([rows[1, [1, 3]].logsumexp(0), rows[0, 5]])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(scorer.logits(encoded, torch.tensor([1])), logits[1:])
    assert scorer.knows("dog")
    assert not scorer.knows("beagle")
    assert not scorer.knows("")


def test_attention_of_every_block(pixels: Tensor) -> None:
    torch.manual_seed(0)
    scorer = TimmClassifier(
        "vit_tiny_patch16_224",
        pretrained=False,
        classes=CLASSES,
        preprocess=Preprocess(size=SIZE),
        attention=True,
    )
    attentions = [layer for layer in scorer.target_layers if layer.kind == "self_attention"]
    assert [layer.name for layer in attentions] == [f"blocks.{i}.attn.attn_drop" for i in range(12)]
    with torch.no_grad(), Recording(attentions) as recording:
        scores = scorer.score(scorer.encode(pixels), TEXTS, OWNER)
    for layer, probabilities in zip(attentions, recording.outputs, strict=True):
        assert probabilities.shape == (3, 3, 17, 17)
        assert layer.token_mask is not None
        assert layer.token_mask.tolist() == [False] + [True] * 16
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, 3, 17))
    logits = scorer.network(pixels)
    torch.testing.assert_close(scores, logits[OWNER, torch.tensor(COLUMNS)], rtol=1e-4, atol=1e-5)


def test_mistakes_are_named() -> None:
    network = timm_small("resnet10t")(Path()).network
    good = Preprocess(size=SIZE)
    mistakes = [
        (r"model\.layer=layer9: no such layer; .*layer3, layer4", {"layer": "layer9"}),
        (r"model\.layer=fc: its output is no feature map", {"layer": "fc"}),
        (r"model\.target=odds", {"target": "odds"}),
        (r"model\.classes: 2 names.*\(6,\)", {"classes": ["a", "b"]}),
    ]
    for message, options in mistakes:
        with pytest.raises(VlgroundError, match=message):
            ImageClassifier(network, good, **{"classes": CLASSES, **options})
    vit = timm_small("vit_tiny_patch16_224", img_size=SIZE, depth=1)(Path()).network
    with pytest.raises(VlgroundError, match=r"model\.preprocess\.size=32"):
        ImageClassifier(vit, Preprocess(size=32), classes=CLASSES)
