"""Saved weights: reading them, and refusing what does not fit."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vlground.errors import VlgroundError

# What training codes wrap the weights in: a key of the file, a prefix of every name.
_KEYS = ("state_dict", "model")
_PREFIXES = ("module.", "model.", "network.")


def load_checkpoint(network: nn.Module, file: str) -> None:
    """Fill a network from a file of weights; code inside a pickle is never run.

    Args:
        network: Whose every tensor the file must have, and no other.
        file: `.safetensors`, or what `torch.save` wrote: the names and tensors, alone or under
            `state_dict` or `model`; the prefix `module.`, `model.` or `network.` on every name is
            taken off where the network has it not.

    Raises:
        VlgroundError: If the file cannot be read, or its tensors do not fit.
    """
    found = read_tensors(file)
    wanted = network.state_dict()
    for prefix in _PREFIXES:
        if set(found) != set(wanted) and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    check_fit(found, wanted, file)
    network.load_state_dict(found)


def save_weights(network: nn.Module, file: Path) -> None:
    """Write weights as `load_checkpoint` reads them, in half precision."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    halves = {k: w.half() if w.is_floating_point() else w for k, w in state.items()}
    save_file({name: tensor.contiguous() for name, tensor in halves.items()}, file)


def read_tensors(file: str) -> dict[str, Tensor]:
    """The names and tensors of a file; see `load_checkpoint`.

    Raises:
        VlgroundError: If it cannot be read, or holds something else.
    """
    return _unwrap(_read(Path(file).expanduser()), file)


def check_fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: str) -> None:
    """Make sure that a file has every tensor of a network, and no other.

    Raises:
        VlgroundError: If not; the message lists the names.
    """
    complaints = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in found and found[name].shape != tensor.shape
        ],
    }
    if any(complaints.values()):
        told = "; ".join(f"{what}: {_few(names)}" for what, names in complaints.items() if names)
        raise VlgroundError(f"model.checkpoint={file}: does not fit the architecture; {told}")


def _read(path: Path) -> object:
    option = f"model.checkpoint={path}"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = "not a file of tensors alone, so it is not opened; save a state_dict"
        raise VlgroundError(f"{option}: {refused}") from error
    except FileNotFoundError as error:
        raise VlgroundError(f"{option}: no such file") from error
    except Exception as error:  # every reader has its own for a damaged file
        raise VlgroundError(f"{option}: cannot be read: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _unwrap(content: object, file: str) -> dict[str, Tensor]:
    for key in _KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise VlgroundError(f"model.checkpoint={file}: holds no names and tensors")
    strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strange or not content:
        raise VlgroundError(f"model.checkpoint={file}: not tensors: {_few(strange)}")
    return dict(content)


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
