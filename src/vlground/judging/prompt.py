"""Prompts: files with a version, whose placeholders are checked."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from vlground.contracts import JudgeRequest, Shows
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.judging.answer import HIGHEST

Form = Literal["json", "digit"]

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TYPES: dict[str, type] = {"name": str, "version": int, "shows": str, "images": int}
_TYPES |= {"placeholders": list, "text": str, "json": str, "digit": str, "highest": int}
_LEFT_OUT = frozenset({"json", "digit", "highest"})


@dataclass(frozen=True)
class Prompt:
    """What a judge is asked, in words of ours.

    Attributes:
        name: Of the prompt, for rows and messages.
        version: Raised when a word changes that a judge reads.
        shows: Pictures that it speaks of: masked ones, a map laid over the photo, the photo itself,
            or nothing.
        images: How many pictures it speaks of.
        placeholders: Fields that it needs.
        text: The task and the rubric, 0-highest.
        json: Its end where a JSON object is asked for; None: it cannot be asked so.
        digit: Its end where a single digit is asked for; None: it cannot be asked so.
        highest: Best score, at most 9; 5 of all that judge what a mask shows.
    """

    name: str
    version: int
    shows: Shows
    images: int
    placeholders: tuple[str, ...]
    text: str
    json: str | None
    digit: str | None
    highest: int = HIGHEST

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the whole file, for the identity of a stage."""
        parts = [self.name, self.version, self.shows, self.text, self.json, self.digit]
        return digest(parts if self.highest == HIGHEST else [*parts, self.highest])

    def check(self, form: Form) -> None:
        """Make sure that an answer of this form can be asked for.

        Raises:
            VlgroundError: If the file has no such end.
        """
        if getattr(self, form) is None:
            raise VlgroundError(f"judge.prompt={self.name}: cannot ask for one {form} alone")

    def write(self, request: JudgeRequest, form: Form) -> str:
        """The words of a request.

        Args:
            request: Its fields replace the placeholders, once: braces in a field stay as they are.
            form: How the answer shall come; see `check`.

        Raises:
            VlgroundError: If a field is missing or empty, or the pictures are not as many as the
                prompt speaks of.
        """
        empty = [name for name in self.placeholders if not request.fields.get(name, "").strip()]
        if empty:
            told = f"needs the field {empty[0]!r}, which is missing or empty"
            raise VlgroundError(f"judge.prompt={self.name}: {request.key}: {told}")
        if len(request.images) != self.images:
            told = f"speaks of {self.images} pictures, there are {len(request.images)}"
            raise VlgroundError(f"judge.prompt={self.name}: {request.key}: {told}")
        parts = (self.text, getattr(self, form))
        whole = "\n\n".join(part.strip() for part in parts)
        return _PLACEHOLDER.sub(lambda found: request.fields[found[1]], whole)


def load_prompt(name: str) -> Prompt:
    """Read a prompt that comes with the package, or one of yours.

    Args:
        name: `full`, `short`, `describe_then_judge`, `overlay`, of what is behind an answer;
            `mmhal`, of answers; `preference`, of captions; or the path of a `.toml` file.

    Raises:
        VlgroundError: If there is none, or the file is not as it has to be.
    """
    option = f"judge.prompt={name}"
    folder = files("vlground.judging").joinpath("prompts")
    own = Path(name).expanduser()
    try:
        if own.suffix == ".toml":
            text = own.read_text("utf-8")
        else:
            text = folder.joinpath(f"{name}.toml").read_text("utf-8")
        found = tomllib.loads(text)
    except (OSError, ValueError) as error:
        known = sorted(file.name.removesuffix(".toml") for file in folder.iterdir())
        told = f"expected {', '.join(known)} or the path of a .toml file"
        reason = getattr(error, "strerror", None) or str(error)
        raise VlgroundError(f"{option}: {told}: {reason}") from error
    if problem := _problem(found):
        raise VlgroundError(f"{option}: {problem}")
    ends = {form: found.get(form) for form in get_args(Form)}
    return Prompt(**{**found, **ends, "placeholders": tuple(found["placeholders"])})


def _problem(found: Mapping[str, Any]) -> str | None:
    """What is wrong with the content of a prompt file."""
    if unknown := sorted(found.keys() - _TYPES.keys()):
        return f"unknown key {unknown[0]!r}"
    missing = [name for name in _TYPES if name not in found and name not in _LEFT_OUT]
    if missing:
        return f"has no {missing[0]!r}"
    wrong = [name for name, value in found.items() if not isinstance(value, _TYPES[name])]
    if wrong:
        return f"{wrong[0]!r} is not of type {_TYPES[wrong[0]].__name__}"
    if found["shows"] not in get_args(Shows):
        return f"shows={found['shows']}: expected {', '.join(get_args(Shows))}"
    highest, masks = found.get("highest", HIGHEST), found["shows"] in ("masked", "overlay")
    if highest != HIGHEST if masks else not 1 <= highest <= 9:
        told = f"{HIGHEST}, as what a mask shows is scored" if masks else "1-9, a single digit"
        return f"highest={highest}: expected {told}"
    return _ill_worded(found)


def _ill_worded(found: Mapping[str, Any]) -> str | None:
    """What is wrong with its texts and their placeholders."""
    forms = [found[form] for form in get_args(Form) if form in found]
    if not forms:
        return "has neither 'json' nor 'digit', so no answer can be asked for"
    used = {name for text in (found["text"], *forms) for name in _PLACEHOLDER.findall(text)}
    if used != set(found["placeholders"]):
        return f"placeholders are {sorted(used)}, but it declares {found['placeholders']}"
    return None
