"""What a model, a judge, a detector … needs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlground.fetching.needs import (
    Facts,
    FileNeed,
    HubNeed,
    Need,
    Node,
    PackageNeed,
    catalogue,
    facts_of,
)
from vlground.weights import (
    VOCABULARY,
    WEIGHTS,
    HubFiles,
    UrlFile,
    is_on_hub,
    library_weights,
)

_UNSET = "???"
_PROCESSOR = "processor_config.json|preprocessor_config.json"
_CHAT = "chat_template.jinja|chat_template.json|tokenizer_config.json"
_WORDS = f"{VOCABULARY}|vocab.json"  # OWLv2 keeps CLIP's vocabulary in two files
_CARRIED = Path(__file__).parents[1]  # the miniatures'


def model_needs(group: str, choices: Mapping[str, str], node: Node) -> Iterator[Need]:
    """Weights, vocabularies and packages of a part and of the parts inside it.

    Args:
        group: model, judge, detector …
        choices: Group -> option, of the cell.
        node: The part's config node.

    Raises:
        VlgroundError: If a library has no weights of the name that an option gives.
    """
    option = f"{group}={choices[group]}"
    checkpoint = node.get("checkpoint")
    if checkpoint is not None:
        yield from _of_checkpoint(group, choices, str(checkpoint))
    yield from _of_package(option, node)
    if node.get("architecture") == _UNSET and node.get("pretrained"):
        yield _unset(option, f"{group}.architecture=NAME")
    elif (library := library_weights(node)) is not None:
        yield _of_library(option, library)
    else:
        yield from _of_pretrained(group, option, node)
    tokenizer = node.get("tokenizer")
    if is_on_hub(tokenizer):
        yield _on_hub(str(tokenizer), None, (VOCABULARY,), f"{option} tokenizer")
    encoder = node.get("text_encoder")
    if is_on_hub(encoder):
        files = ("config.json", WEIGHTS, VOCABULARY)
        yield _on_hub(str(encoder), None, files, f"{option} text_encoder")
    for child in node.values():
        if isinstance(child, Mapping) and "_target_" in child:
            yield from model_needs(group, choices, child)


def _of_pretrained(group: str, option: str, node: Node) -> Iterator[Need]:
    name = node.get("pretrained")
    if name == _UNSET:
        yield _unset(option, f"{group}.pretrained=NAME")
    elif is_on_hub(name):
        beside: tuple[str, ...] = ("preprocessor_config.json",) if "classes" in node else ()
        if "tokenizer" in node and node["tokenizer"] is None:
            beside = (VOCABULARY,)
        if group == "judge":
            beside = (VOCABULARY, _PROCESSOR, _CHAT)
        if group == "detector":
            beside = (_WORDS, _PROCESSOR)
        files = ("config.json", WEIGHTS, *beside)
        yield _on_hub(str(name), node.get("revision"), files, option)
    elif isinstance(name, str):
        path = Path(name).expanduser()
        if not path.exists() and not path.is_relative_to(_CARRIED):
            yield _own(path, f"{option} pretrained", Facts())


def _of_checkpoint(group: str, choices: Mapping[str, str], checkpoint: str) -> Iterator[Need]:
    option = f"{group}={choices[group]}"
    known: dict[str, dict[str, Any]] = catalogue()["file"]
    if checkpoint != _UNSET:
        path = Path(checkpoint).expanduser()
        if not path.is_relative_to(_CARRIED):
            yield _own(path, option, facts_of(known.get(path.name, {})))
        return
    meant = {name: entry for name, entry in known.items() if entry.get(group) == choices[group]}
    dataset = choices.get("dataset", "")
    for_it = [name for name, entry in meant.items() if dataset in entry.get("datasets", ())]
    general = [name for name, entry in meant.items() if "datasets" not in entry]
    also = [name for name, entry in meant.items() if dataset in entry.get("also", ())]
    for name in [*(for_it or general or ["checkpoint"]), *also]:
        asks = f"{group}.checkpoint={'FILE' if name == 'checkpoint' else f'DIR/{name}'}"
        facts = facts_of(meant.get(name, {}))
        yield FileNeed(name, None, (name,), facts, f"{option} dataset={dataset}", asks)


def _of_package(option: str, node: Node) -> Iterator[PackageNeed]:
    entry = catalogue()["package"].get(node.get("_target_"))
    if entry is not None:
        yield PackageNeed(entry["name"], entry["module"], facts_of(entry), option)


def _of_library(option: str, wanted: HubFiles | UrlFile) -> Need:
    """Weights that a library fetches by itself: their place is the library's."""
    if isinstance(wanted, UrlFile):
        path = wanted.path
        facts = Facts(wanted.size, None, wanted.checksum, wanted.url)
        return FileNeed(path.name, path.parent, (path.name,), facts, option)
    entry = {"licence": wanted.licence} if wanted.licence else {}
    facts = facts_of(catalogue()["hub"].get(wanted.repository, entry))
    return HubNeed(wanted.repository, wanted.revision, wanted.files, facts, option)


def _unset(option: str, asks: str) -> FileNeed:
    return FileNeed(option, None, (), Facts(), option, asks)


def _own(path: Path, option: str, facts: Facts) -> FileNeed:
    return FileNeed(path.name, path.parent, (path.name,), facts, option)


def _on_hub(name: str, revision: str | None, files: tuple[str, ...], option: str) -> HubNeed:
    return HubNeed(name, revision, files, facts_of(catalogue()["hub"].get(name, {})), option)
