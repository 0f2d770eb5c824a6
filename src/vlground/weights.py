"""Weights that an option names but no path leads to: on the hub, or fetched by a library.

Nothing here asks the network: what is not in a cache is not there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlground.errors import VlgroundError

Node = Mapping[str, Any]

# What transformers and timm look for, the first that is there; of an index also its shards.
WEIGHTS = (
    "model.safetensors|model.safetensors.index.json|pytorch_model.bin|pytorch_model.bin.index.json"
)
VOCABULARY = "tokenizer.json|spiece.model|tokenizer.model|vocab.txt"

_HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFiles:
    """Files of a repository of the hub.

    Attributes:
        repository: Its name.
        revision: Commit, branch or tag; None: main.
        files: Each one name, or several with `|` between, of which the first that is there counts.
        licence: Of the weights, as the library says.
    """

    repository: str
    revision: str | None
    files: tuple[str, ...]
    licence: str | None = None


@dataclass(frozen=True)
class UrlFile:
    """A file that a library keeps in its own cache.

    Attributes:
        path: Where.
        url: Where from.
        checksum: `sha256:` and hex digits, the first of them at least; None: not known.
        size: In words.
    """

    path: Path
    url: str
    checksum: str | None = None
    size: str | None = None


def is_on_hub(name: object) -> bool:
    """Whether an option's value is a name on the hub, not a path.

    >>> [is_on_hub(name) for name in ("a/name", "name", "a/b/c", "../name", "weights/", True)]
    [True, True, False, False, False, False]
    """
    return (
        isinstance(name, str)
        and _HUB_NAME.fullmatch(name) is not None
        and not Path(name).expanduser().exists()
    )


def snapshot_of(repository: str, revision: str | None = None) -> Path | None:
    """The folder of a revision in the hub's cache, whose name is the commit; None: not there."""
    from huggingface_hub import snapshot_download

    try:
        # No pattern: only the folder is asked for.
        return Path(
            snapshot_download(
                repository, revision=revision, local_files_only=True, allow_patterns=[]
            )
        )
    except (OSError, ValueError):
        return None


def library_weights(node: Node) -> HubFiles | UrlFile | None:
    """What timm, open_clip or torchvision will load for a model node; None: nothing of theirs.

    Raises:
        VlgroundError: If the library has no such weights.
    """
    reader = _LIBRARIES.get(str(node.get("_target_")))
    return reader(node) if reader is not None and node.get("pretrained") else None


def library_file(node: Node) -> Path | None:
    """The file that `library_weights` means, if it is in its cache."""
    try:
        wanted = library_weights(node)
    except VlgroundError:  # the model itself says so
        return None
    if isinstance(wanted, UrlFile):
        return wanted.path if wanted.path.is_file() else None
    snapshot = None if wanted is None else snapshot_of(wanted.repository, wanted.revision)
    if wanted is None or snapshot is None:
        return None
    names = wanted.files[-1].split("|")
    return next((snapshot / name for name in names if (snapshot / name).is_file()), None)


def commit_of(node: Node, option: str) -> str | None:
    """The commit of the repository that `pretrained` or `tokenizer` names.

    Args:
        node: The config node with that option; `revision` is that of `pretrained`.
        option: Which.

    Returns:
        40 hex digits: the one asked for, or that in the hub's cache; None: neither.
    """
    of_library = option == "pretrained" and str(node.get("_target_")) in _LIBRARIES
    if option not in ("pretrained", "tokenizer") or of_library or not is_on_hub(node[option]):
        return None
    revision = node.get("revision") if option == "pretrained" else None
    if revision is not None and _COMMIT.fullmatch(revision):
        return str(revision)
    snapshot = snapshot_of(node[option], revision)
    return None if snapshot is None else snapshot.name


def unidentified(node: object) -> bool:
    """Whether a node names weights of which no cache can say which they are."""
    if not isinstance(node, Mapping):
        return False
    if str(node.get("_target_")) in _LIBRARIES and node.get("pretrained"):
        return library_file(node) is None
    named = [option for option in ("pretrained", "tokenizer") if is_on_hub(node.get(option))]
    here = all(commit_of(node, option) for option in named)
    return not here or any(unidentified(child) for child in node.values())


def pinned(node: Node) -> dict[str, Any]:
    """A model node whose `revision` is the commit that is in the hub's cache, if there is one.

    Without it transformers asks the hub for a newer one at every start, and loads that.
    """
    whole = dict(node)
    if whole.get("revision", "") is None and is_on_hub(whole.get("pretrained")):
        snapshot = snapshot_of(whole["pretrained"])
        whole["revision"] = None if snapshot is None else snapshot.name
    return whole


def vocabulary_beside(node: Node) -> list[Path]:
    """The vocabulary in the folder of a node's checkpoint, if it is read from there."""
    checkpoint = node.get("checkpoint")
    if not isinstance(checkpoint, str) or node.get("tokenizer", "") is not None:
        return []
    folder = Path(checkpoint).expanduser().parent
    names = (*VOCABULARY.split("|"), "tokenizer_config.json", "special_tokens_map.json")
    return [folder / name for name in sorted(names) if (folder / name).is_file()]


def _of_timm(node: Node) -> HubFiles | UrlFile | None:
    import timm

    name = str(node["architecture"])
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if known is None or not known.hf_hub_id:
        raise VlgroundError(f"model.architecture={name}: timm has no weights of this name")
    return HubFiles(
        known.hf_hub_id, None, (_with_safe(known.hf_hub_filename or _TIMM),), known.license
    )


def _of_open_clip(node: Node) -> HubFiles | UrlFile | None:
    import open_clip

    name, tag = str(node["architecture"]), str(node["pretrained"])
    known = open_clip.get_pretrained_cfg(name, tag)
    if not known:
        offered = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise VlgroundError(f"model.pretrained={tag}: open_clip's weights of {name} are {offered}")
    repository, _, file = known.get("hf_hub", "").rpartition("/")
    if repository:
        return HubFiles(repository, None, (_with_safe(file or _OPEN_CLIP),))
    url = known["url"]
    path = Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]
    return UrlFile(path, url)


def _of_torchvision(node: Node) -> HubFiles | UrlFile | None:
    import torch
    from torchvision.models import get_model_weights, list_models

    name, weights = str(node["architecture"]), str(node["weights"])
    offered = {}
    if name in list_models():
        offered = {entry.name: entry for entry in get_model_weights(name)}
    if weights not in offered:
        known = ", ".join(offered) or "none of this architecture"
        raise VlgroundError(f"model.weights={weights}: torchvision has {known}")
    chosen = offered[weights]
    path = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    # torchvision's file names end in the first digits of the SHA-256.
    checksum = f"sha256:{path.stem.rpartition('-')[2]}"
    return UrlFile(path, chosen.url, checksum, f"{chosen.meta['_file_size']} MB")


_TIMM, _OPEN_CLIP = "pytorch_model.bin", "open_clip_pytorch_model.bin"
_SAFE = {_TIMM: "model.safetensors", _OPEN_CLIP: "open_clip_model.safetensors"}

_LIBRARIES = {
    "vlground.models.timm_classifier.TimmClassifier": _of_timm,
    "vlground.models.clip.ClipScorer": _of_open_clip,
    "vlground.models.torchvision_classifier.TorchvisionClassifier": _of_torchvision,
}


def _with_safe(name: str) -> str:
    """The name in safetensors before the pickle, as both libraries ask for them."""
    stem, _, suffix = name.rpartition(".")
    safe = _SAFE.get(name, f"{stem}.safetensors")
    return name if suffix == "safetensors" else f"{safe}|{name}"
