"""The card beside every exported file: where it comes from, what is in it, what may be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Of annotations a reward may rest on; what is made with them inherits the terms.
LICENCES = {
    "ViGoR annotations": "CC-BY-NC-4.0; the texts are of LLaVA on LLaMA v1, whose licence applies",
    "RLHF-V": "CC-BY-NC-4.0",
    "M-HalDetect": "not stated in the files; see its repository",
}


@dataclass(frozen=True)
class Provenance:
    """What a file was made of; everything is written down as given.

    Attributes:
        title: Of the card.
        source: What was done with what -> value: fingerprints of the stages, model, prompt,
            detector, sentence scorer, tagger, seed.
        options: Option -> value, of the reward.
        counts: What became of images and captions -> number.
        licences: Source -> its licence. A source without one is a warning in the card.
    """

    title: str
    source: Mapping[str, object]
    options: Mapping[str, object] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)


def card(
    provenance: Provenance,
    name: str,
    style: str,
    records: int,
    sha256: str,
    left_out: Mapping[str, int],
) -> str:
    """Write the card.

    Args:
        provenance: Of the whole selection.
        name: Of the file.
        style: Its format, in words.
        records: In the file.
        sha256: Of the file.
        left_out: Reason -> candidates or images that are not in this file.

    Returns:
        Markdown.
    """
    lines = [f"# {_cell(provenance.title)}", ""]
    lines += [f"`{name}`: {records} records, {style}.", "", f"SHA-256 `{sha256}`.", ""]
    lines += _table("Provenance", "of", provenance.source)
    lines += _table("Options of the reward", "option", provenance.options)
    lines += _table("Counts", "what", {**provenance.counts, "records in this file": records})
    lines += _table("Not in this file", "reason", left_out)
    lines += _table("Licences", "source", provenance.licences)
    lines += [*_warnings(provenance.licences), ""]
    return "\n".join(lines)


def _warnings(licences: Mapping[str, str]) -> list[str]:
    if not licences:
        return ["**No licence is stated: ask before you share this file.**"]
    without = [name for name, licence in licences.items() if not licence.strip()]
    lines = [
        f"**No licence is stated of {name}: ask before you share this file.**" for name in without
    ]
    bound = [name for name, licence in licences.items() if _non_commercial(licence)]
    if bound:
        named = ", ".join(bound)
        lines.append(f"**Not for commercial use, and neither is a model trained on it: {named}.**")
    return lines


def _non_commercial(licence: str) -> bool:
    lower = licence.lower().replace("-", " ")
    return " nc" in f" {lower}" or "noncommercial" in lower or "non commercial" in lower


def _table(title: str, head: str, rows: Mapping[str, object]) -> list[str]:
    if not rows:
        return []
    body = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()]
    return [f"## {title}", "", f"| {head} | value |", "|---|---|", *body, ""]


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
