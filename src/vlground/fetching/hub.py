"""Repositories of the hub: what its cache has, and fetching the rest."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.fetching.needs import HubNeed
from vlground.weights import snapshot_of

# Small ones that are read with weights or a vocabulary if they are there.
_BESIDE = (
    *("added_tokens.json", "chat_template*", "generation_config.json", "merges.txt"),
    "preprocessor_config.json",
    *("processor_config.json", "special_tokens_map.json", "tokenizer_config.json"),
)


def missing_files(need: HubNeed) -> list[str]:
    """What the hub's cache lacks of a revision; of several names that will do, all."""
    snapshot = snapshot_of(need.name, need.revision)
    if snapshot is None:
        return [_said(one) for one in need.files]
    # A link into the cache whose file is gone is no file.
    names = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    missing = []
    for wanted in need.files:
        chosen = next((one for one in wanted.split("|") if one in names), None)
        if chosen is None:
            missing.append(_said(wanted))
        elif chosen.endswith(".index.json"):
            missing += sorted(_shards(snapshot / chosen) - names)
    return missing


def fetch_repository(need: HubNeed) -> str:
    """Bring what is missing into the hub's cache; safetensors rather than pickles.

    HF_ENDPOINT, HF_HOME and HF_TOKEN count, as for every program of the hub, which also resumes
    what broke off.

    Returns:
        The commit that was fetched.

    Raises:
        VlgroundError: In one line.
    """
    from huggingface_hub import HfApi, snapshot_download

    with _one_line(need.name):
        known = HfApi().model_info(need.name, revision=need.revision).siblings or []
        names = [file.rfilename for file in known]
        wanted = [_chosen(one, names) for one in need.files]
        lacking = [_said(one) for one, found in zip(need.files, wanted, strict=True) if not found]
        if lacking:
            raise VlgroundError(f"{need.name}: the repository has no {', '.join(lacking)}")
        patterns = [name for found in wanted for name in found]
        folder = snapshot_download(
            need.name, revision=need.revision, allow_patterns=[*patterns, *_BESIDE]
        )
    if left := missing_files(need):
        raise VlgroundError(f"{need.name}: the hub's cache still has no {', '.join(left)}")
    return Path(folder).name


@contextmanager
def _one_line(repository: str) -> Iterator[None]:
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"https://huggingface.co/{repository}"
    try:
        yield
    except GatedRepoError as error:
        told = f"gated: accept its terms at {page}, then give your token as HF_TOKEN"
        raise VlgroundError(f"{repository}: {told}") from error
    except RepositoryNotFoundError as error:
        told = "no such repository, or a private one: give your token as HF_TOKEN"
        raise VlgroundError(f"{repository}: {told}") from error
    except RevisionNotFoundError as error:
        raise VlgroundError(f"{repository}: no such revision") from error
    except OfflineModeIsEnabled as error:
        raise VlgroundError(f"{repository}: HF_HUB_OFFLINE is set, so nothing is asked") from error
    except VlgroundError:
        raise
    except Exception as error:  # of whatever carries it
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise VlgroundError(f"{repository}: {reason[0]}") from error


def _chosen(wanted: str, names: Collection[str]) -> list[str]:
    """The first of several names that a repository has, with the shards of an index."""
    for one in wanted.split("|"):
        if one in names:
            stem, _, suffix = one.removesuffix(".index.json").rpartition(".")
            shards = f"{stem}-*-of-*.{suffix}" if one.endswith(".index.json") else ""
            return [one, *(name for name in names if fnmatch(name, shards))]
    return []


def _shards(index: Path) -> set[str]:
    return set(json.loads(index.read_text("utf-8"))["weight_map"].values())


def _said(wanted: str) -> str:
    """`model.safetensors|model.safetensors.index.json|…` is one thing with many names."""
    first, *others = wanted.split("|")
    return f"{first} (or another form)" if others else first
