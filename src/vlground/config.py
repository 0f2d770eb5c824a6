"""Between Hydra's configuration and objects: the only place that instantiates."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from vlground.contracts import CAM, Captioner, Detector, Judge, Mask, Scorer, SentenceScorer
from vlground.data.sample import DataSet, Sample, manifest
from vlground.errors import VlgroundError
from vlground.identity import checksums
from vlground.weights import pinned, unidentified

Node = Mapping[str, Any]

_KEPT = 2  # models: a sweep may compare two with every CAM in turn
_kept: dict[str, tuple[Scorer, object]] = {}  # the one used last at the end


def build(node: Node) -> Any:  # noqa: ANN401 - what `_target_` makes
    """Instantiate a config node by its `_target_`, with plain lists and dicts.

    Raises:
        VlgroundError: If the arguments do not fit, or a package is missing.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, VlgroundError):
            raise error.__cause__ from error
        raise


def build_scorer(node: Node) -> Scorer:
    """The scorer of a model node, frozen; the last two stay loaded between the cells of a sweep.

    Whoever trains builds one of his own, see `build`. One whose weights were changed all the same
    (converted to another precision, say) is not handed out again.

    Raises:
        VlgroundError: If it cannot be built, or loading it brought newer weights than those that
            its evidence would be stored under.
    """
    if not node:
        raise VlgroundError("model=none: this task needs a model")
    before = None if unidentified(node) else checksums(node)
    scorer = _scorer(json.dumps([pinned(node), before], sort_keys=True))
    after = checksums(node)
    if before is not None and before != after:
        changed = ", ".join(f"model.{name}" for name in after if after[name] != before.get(name))
        raise VlgroundError(f"{changed}: newer weights came from the hub just now; start again")
    return scorer


def build_dataset(node: Node) -> tuple[DataSet, list[Sample], str]:
    """The data set, its samples and their manifest; indexed once a process."""
    return _dataset(json.dumps(node, sort_keys=True))


def versions(node: object) -> dict[str, int]:
    """The `version` of every part named in a node whose evidence is stored, nested ones too."""
    from hydra.utils import get_object

    from vlground.metrics.faithfulness import Faithfulness

    counted = (Scorer, CAM, Mask, Judge, Captioner, Detector, SentenceScorer, Faithfulness)
    found: dict[str, int] = {}
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if target is not None:
            component = get_object(target)
            if isinstance(component, type) and issubclass(component, counted):
                found[target] = component.version
    if isinstance(node, Mapping | list):
        for child in node.values() if isinstance(node, Mapping) else node:
            found.update(versions(child))
    return found


def contents(named: Mapping[str, Node]) -> dict[str, str]:
    """Checksums of weights, see `checksums`, and of the prompt that a judge reads.

    Args:
        named: Group -> its node.
    """
    sums = checksums(named)
    prompt = named.get("judge", {}).get("prompt")
    if prompt is not None:
        from vlground.judging.prompt import load_prompt

        sums["judge.prompt"] = load_prompt(prompt).fingerprint
    return sums


def load_weights(node: Node) -> None:
    """Bring the weights that a node names to this machine, by building it once.

    Raises:
        VlgroundError: If that cannot be done.
    """
    from hydra.utils import get_object

    component = get_object(node["_target_"])
    if isinstance(component, type) and issubclass(component, Captioner | Detector):
        build(pinned(node))
    else:
        build_scorer(node)


def _scorer(key: str) -> Scorer:
    scorer, state = _kept.pop(key, (None, None))
    if scorer is None or _state(scorer) != state:
        scorer = None  # before another one is loaded
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        with torch.inference_mode(False):  # a CAM may want gradients of it later
            scorer = build(json.loads(key)[0])
        assert isinstance(scorer, Scorer)
        scorer.eval().requires_grad_(False)
        state = _state(scorer)
    _kept[key] = scorer, state
    return scorer


def _state(scorer: nn.Module) -> object:
    """What tells whether weights were written to, converted or thawed, or a hook was left."""
    weights = [(w.dtype, w._version, w.requires_grad) for w in scorer.parameters()]
    buffers = [buffer.dtype for buffer in scorer.buffers()]
    hooks = [
        (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
        for part in scorer.modules()
    ]
    return weights, buffers, hooks, any(part.training for part in scorer.modules())


@lru_cache(maxsize=4)
def _dataset(node: str) -> tuple[DataSet, list[Sample], str]:
    dataset: DataSet = build(json.loads(node))
    samples = [dataset[index] for index in range(len(dataset))]
    if len({sample.id for sample in samples}) < len(samples):
        (name, times), *_ = Counter(sample.id for sample in samples).most_common(1)
        told = f"{times} samples have the id {name}; rows and maps are keyed by it"
        raise VlgroundError(f"{type(dataset).__name__}: {told}")
    return dataset, samples, manifest(samples)


def check_whole_numbers(node: Node) -> None:
    """Make sure that what is counted is a number, before anything is read.

    Raises:
        VlgroundError: If `seed`, `batch_size`, `num_workers` or `limit` is none, or too small.

    >>> check_whole_numbers({"limit": "abc"})
    Traceback (most recent call last):
    vlground.errors.VlgroundError: limit=abc: expected a whole number from 1 on
    """
    for name, least in (("seed", 0), ("batch_size", 1), ("num_workers", 0), ("limit", 1)):
        value = node.get(name)
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if not whole and (value is not None or (name in node and name != "limit")):
            raise VlgroundError(f"{name}={value}: expected a whole number from {least} on")


def select(
    samples: list[Sample],
    limit: int | None = None,
    shard: str | None = None,
    sample: str | None = None,
) -> list[Sample]:
    """The part of a data set that a run is about.

    Args:
        samples: All, in the data set's order.
        limit: The first so many.
        shard: `i/n`, the i-th (from 0) of n parts; samples of one image stay together.
        sample: One id.

    Raises:
        VlgroundError: If an option is malformed or there is no such sample.

    >>> a, b, c = (Sample(i, i[0], __import__("pathlib").Path(i), "x") for i in ("a1", "a2", "b1"))
    >>> [s.id for s in select([a, b, c], shard="0/2")], [s.id for s in select([a, b, c], limit=1)]
    (['a1', 'a2'], ['a1'])
    """
    if sample is not None:
        chosen = [s for s in samples if s.id == sample]
        if not chosen:
            raise VlgroundError(f"sample={sample}: no such id among {len(samples)} samples")
        return chosen
    if limit is not None:
        samples = samples[:limit]
    if shard is None:
        return samples
    try:
        index, count = map(int, shard.split("/"))
    except ValueError as error:
        raise VlgroundError(f"shard={shard}: expected i/n, such as 0/4") from error
    if not 0 <= index < count:
        raise VlgroundError(f"shard={shard}: expected 0 <= i < n")
    images = {
        image: place for place, image in enumerate(dict.fromkeys(s.image_id for s in samples))
    }
    return [s for s in samples if images[s.image_id] % count == index]
