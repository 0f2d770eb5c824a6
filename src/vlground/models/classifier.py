"""Image classifiers as scorers: the text is a class name, the score its logit."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.errors import VlgroundError
from vlground.models.class_names import ClassNames
from vlground.models.cut import Call, Cut, find_cut, is_valid, stand_in_features, watch
from vlground.models.layout import Grid, Layout, Tap, layout_of
from vlground.preprocess import Preprocess

Target = Literal["logit", "log_probability"]

_IMAGES = 3  # of the dry run; more than one, so that what is no batch is not taken for one


class ImageClassifier(Scorer):
    """Any network from pixels to one logit a class.

    A text that names several classes ("bird") is scored by the log-sum-exp of their logits: up to
    the image's own constant, the log-probability that one of them is shown. With one class that is
    its logit.

    A dry run finds the target layer, where the image lies in its output, and where to cut the
    network (see `vlground.models.cut`): the layer may be any module, and the image is encoded once
    up to the last place through which everything must go before it.

    Args:
        network: From `(b, 3, size, size)` to `(b, classes)`, or what `run` is written for.
        preprocess: From the original image to the model's input.
        layer: Target layer, any named module. None: the last output on which all depends and in
            which the image's cells have a say: of a CNN the last feature map before pooling; of a
            ViT that classifies by its class token the normalised input of the last block, after
            which the image's tokens are not read again.
        target: What a text's score is: its logit, or its log-probability (the other classes then
            enter the gradient).
        classes: Names of the classes, see `ClassNames`; None: ImageNet's.
        grids: Grids the network is known to have, see `layout_of`.
        attention: Modules whose outputs are attention probabilities `(q, heads, n, n)`: further
            target layers. The cut then lies before the first of them.

    Raises:
        VlgroundError: If there is no such layer, its output is no feature map, the number of
            classes is another one, or the network does not take images of this size.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        layer: str | None = None,
        target: Target = "logit",
        classes: Sequence[str] | str | None = None,
        grids: Sequence[Grid] = (),
        attention: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if target not in ("logit", "log_probability"):
            raise VlgroundError(f"model.target={target}: expected logit or log_probability")
        self.network = network.eval().requires_grad_(False)
        self.preprocess = preprocess
        self.target = target
        self.classes = ClassNames(classes)
        self._grids = grids
        with torch.no_grad():
            self._prepare(layer, attention)

    def run(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """`(b, classes)` logits of the whole network, given as it may be a copy cut in two."""
        return network(pixels)

    def encode(self, pixels: Tensor) -> Encoded:
        """Run the network up to the cut (see the base class)."""
        return Encoded(pixels, self.cut.below(pixels))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Score class names (see the base class)."""
        logits = self.logits(encoded, owner)
        if self.target == "log_probability":
            logits = logits.log_softmax(dim=-1)
        rows = zip(logits, texts, strict=True)
        named = ((row, list(self.classes.indices(text))) for row, text in rows)
        return torch.stack([row[indices].logsumexp(0) for row, indices in named])

    def logits(self, encoded: Encoded, owner: Tensor) -> Tensor:
        """`(q, classes)` logits of the images `owner`."""
        return self.cut.above(encoded.features[owner], encoded.pixels.shape[-1])

    def knows(self, text: str) -> bool:
        """Whether some class has this name."""
        return bool(self.classes.indices(text))

    def _prepare(self, layer: str | None, attention: Sequence[str]) -> None:
        size = self.preprocess.size
        pixels = torch.randn(_IMAGES, 3, size, size, generator=torch.Generator().manual_seed(0))
        try:
            calls, logits = watch(self.network, self.run, pixels)
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            told = f"model.preprocess.size={size}: not for this model: {reason}"
            raise VlgroundError(told) from error
        if not logits.isfinite().all():
            raise VlgroundError("model: its weights give logits that are not finite")
        if logits.shape != (_IMAGES, self.classes.count):
            has = f"the model gives {tuple(logits.shape[1:])} numbers an image"
            raise VlgroundError(f"model.classes: {self.classes.count} names, but {has}")
        found = {call.name: call for call in calls}
        chosen = self._default(calls, pixels, logits) if layer is None else _named(found, layer)
        layout = layout_of(chosen.shape, self._grids)
        if layout is None:
            raise VlgroundError(f"model.layer={chosen.name}: its output is no feature map")
        tokens = layout.token_mask
        targets = {chosen: TargetLayer(chosen.name, nn.Identity(), "features", layout.grid, tokens)}
        for name in attention:
            kind = TargetLayer(name, nn.Identity(), "self_attention", layout.grid, tokens)
            targets[found[name]] = kind
        for call, target in targets.items():
            tap = Tap(layout.channels_last and call == chosen)
            target.module = tap.module
            self.network.get_submodule(call.name).register_forward_hook(tap)
        before = min(call.first for call in targets)
        self.cut = find_cut(self.network, self.run, calls, before, pixels, logits)
        in_order = sorted(targets, key=lambda call: call.last)
        self.target_layers = tuple(targets[call] for call in in_order)

    def _default(self, calls: Sequence[Call], pixels: Tensor, logits: Tensor) -> Call:
        for call in reversed(calls):
            layout = layout_of(call.shape, self._grids)
            if layout is None:
                continue
            cut = Cut(self.network, self.run, calls, len(pixels), call)
            if is_valid(cut, pixels, logits) and self._has_a_say(cut, layout):
                return self._normalised(calls, call)
        raise VlgroundError("model.layer: none found by itself; " + _offer(calls))

    def _has_a_say(self, cut: Cut, layout: Layout) -> bool:
        """Whether the image's cells there still reach the logits."""
        assert cut.at is not None
        assert cut.at.shape is not None
        spoilt = layout.spoil(stand_in_features(cut.at.shape))
        return bool(cut.above(spoilt, self.preprocess.size).isnan().all())

    def _normalised(self, calls: Sequence[Call], call: Call) -> Call:
        """Of tokens the layer norm that reads them next, if one does; else the call itself."""
        after = [other for other in calls if other.first > call.last]
        follower = min(after, key=lambda other: other.first, default=call)
        module = self.network.get_submodule(follower.name)
        same = follower.shape == call.shape and len(follower.shape or ()) == 3
        return follower if same and isinstance(module, nn.LayerNorm) else call


def _named(found: dict[str, Call], name: str) -> Call:
    if name not in found:
        raise VlgroundError(f"model.layer={name}: no such layer; {_offer(list(found.values()))}")
    return found[name]


def _offer(calls: Sequence[Call]) -> str:
    """The feature maps of the outer modules, and that there are more."""
    maps = [call.name for call in calls if layout_of(call.shape)]
    outer = [name for name in maps if name.count(".") <= 1]
    return f"feature maps are {', '.join(outer[-12:])} and modules inside them"
