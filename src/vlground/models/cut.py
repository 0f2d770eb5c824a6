"""A classification network in two parts, so that what no text reaches runs once an image.

    pixels ──below──▶ the output of one module, the cut ──above──▶ logits

No family of networks is written down here. `above` is the network itself, a copy that shares its
parameters, in which the cut returns what `below` found and every module that ran before it returns
NaN of the right shape at no cost. So a cut is valid exactly if no NaN comes out: then the logits
depend on the image through the cut alone. A block's inside, around which a residual runs, is found
to be none; the block's input is found instead. That works for whatever is made of modules (ResNet,
ConvNeXt, ViT, Swin, MaxViT …); where there is no valid cut, the pixels are the cut: the result is
the same, but the network then runs once a text.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

Run = Callable[[nn.Module, Tensor], Tensor]  # network, pixels (b, 3, h, w) -> logits (b, classes)


@dataclass(frozen=True)
class Call:
    """One module of a network as a dry run saw it.

    Attributes:
        name: As in `named_modules`.
        first: Time of the first output.
        last: Time of the last one.
        shape: Of its output, if that is one tensor.
    """

    name: str
    first: int
    last: int
    shape: tuple[int, ...] | None


def watch(network: nn.Module, run: Run, pixels: Tensor) -> tuple[list[Call], Tensor]:
    """Run the network and note which module ran when.

    Returns:
        The modules that ran, in the order of their last output, and the logits.
    """
    calls: dict[str, Call] = {}
    clock = count()

    def note(name: str, output: object) -> None:
        now = next(clock)
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        first = calls.pop(name).first if name in calls else now
        calls[name] = Call(name, first, now, shape)

    handles = [
        module.register_forward_hook(lambda m, i, output, name=name: note(name, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        logits = run(network, pixels)
    finally:
        for handle in handles:
            handle.remove()
    return list(calls.values()), logits


class Cut:
    """The network, cut at the output of one module.

    Args:
        network: In eval mode.
        run: How to get logits from it.
        calls: What `watch` saw.
        batch: Images that it was watched on.
        at: The module; None: the pixels.
    """

    def __init__(
        self, network: nn.Module, run: Run, calls: Sequence[Call], batch: int, at: Call | None
    ) -> None:
        self.at = at
        self._network = network
        self._run = run
        self._given = _Given()
        self._above = network
        if at is not None:
            below = {call.name: call for call in calls if call.last < at.first}
            replaced: dict[str, Callable[..., Tensor]] = {
                name: _Gone(self._given, call.shape[1:])
                for name, call in below.items()
                if call.shape and call.shape[0] == batch
            }
            self._above = _graft(network, {**replaced, at.name: self._given})

    def below(self, pixels: Tensor) -> Tensor:
        """From pixels `(b, 3, h, w)` to the output of the cut, first axis `b`."""
        if self.at is None:
            return pixels
        handle = self._network.get_submodule(self.at.name).register_forward_hook(_stop)
        try:
            self._run(self._network, pixels)
        except _ReachedError as reached:
            return reached.features
        finally:
            handle.remove()
        raise AssertionError(f"{self.at.name} did not run")

    def above(self, features: Tensor, size: int) -> Tensor:
        """From `q` rows of the cut's output to logits `(q, classes)`.

        Args:
            features: `below`'s, first axis `q`.
            size: Side of the images it came from.
        """
        if self.at is None:
            return self._run(self._network, features)
        self._given.features = features
        try:
            return self._run(self._above, _nan(features, (3, size, size)))
        finally:
            self._given.features = None


def find_cut(
    network: nn.Module,
    run: Run,
    calls: Sequence[Call],
    before: int,
    pixels: Tensor,
    logits: Tensor,
) -> Cut:
    """The latest valid cut.

    Args:
        network: In eval mode.
        run: How to get logits from it.
        calls: What `watch` saw.
        before: Time of the output that must not lie below the cut.
        pixels: The images it was watched on, `(b, 3, h, w)`, `b` > 1.
        logits: Their logits.
    """
    for call in reversed(calls):
        if call.last <= before:
            cut = Cut(network, run, calls, len(pixels), call)
            if is_valid(cut, pixels, logits):
                return cut
    return Cut(network, run, calls, len(pixels), None)


def is_valid(cut: Cut, pixels: Tensor, logits: Tensor) -> bool:
    """Whether both parts together give the network's own logits, for a repeated image too."""
    call, images, size = cut.at, len(pixels), pixels.shape[-1]
    if call is None or call.shape is None or call.shape[0] != images or call.first != call.last:
        return False
    try:
        # Most candidates fail here already, where only the part above the cut is run.
        if not cut.above(stand_in_features(call.shape), size).isfinite().all():
            return False
        owner = torch.arange(images + 1) % images
        found = cut.above(cut.below(pixels)[owner], size)
    except (RuntimeError, ValueError, AssertionError):  # shapes that do not fit
        return False
    return torch.allclose(found, logits[owner], rtol=0, atol=1e-3 * float(logits.abs().max()))


def stand_in_features(shape: tuple[int, ...]) -> Tensor:
    """Any finite output of the cut."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


class _ReachedError(Exception):
    """Ends a run of the network at the cut."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


def _stop(module: nn.Module, inputs: object, output: Tensor) -> None:
    raise _ReachedError(output)


class _Given:
    """Stands for the cut above it: returns what was found below."""

    features: Tensor | None = None

    def __call__(self, *inputs: object, **named: object) -> Tensor:
        assert self.features is not None
        return self.features


class _Gone:
    """Stands for a module below the cut; whoever uses its output after all spoils the logits."""

    def __init__(self, given: _Given, shape: tuple[int, ...]) -> None:
        self._given = given
        self._shape = shape

    def __call__(self, *inputs: object, **named: object) -> Tensor:
        assert self._given.features is not None
        return _nan(self._given.features, self._shape)


def _nan(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return like.new_full((), math.nan).expand(len(like), *shape)


def _graft(
    module: nn.Module, replaced: dict[str, Callable[..., Tensor]], prefix: str = ""
) -> nn.Module:
    """A copy that shares parameters and hooks, in which the named modules do something else.

    A replaced module stays a copy of itself, as its parents may read its attributes.
    """
    twin = copy.copy(module)
    children = dict(module._modules)
    twin.__dict__["_modules"] = children
    for child_name, child in module._modules.items():
        name = prefix + child_name
        if child is None:
            continue
        if name in replaced:
            stand_in = copy.copy(child)
            stand_in.__dict__["forward"] = replaced[name]
            children[child_name] = stand_in
        elif any(other.startswith(name + ".") for other in replaced):
            children[child_name] = _graft(child, replaced, name + ".")
    return twin
