"""No key and no password gets into an option, a file or a message."""

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from vlground.errors import VlgroundError

Group = Literal["judge", "model"]
GROUPS: tuple[Group, ...] = ("judge", "model")


def refuse_secrets(options: Mapping[str, Any], group: Group = "judge") -> None:
    """Refuse options that hold a key or a password, before they are written anywhere.

    Args:
        options: A node of the group, or some of its options.
        group: That messages name.

    Raises:
        VlgroundError: In a line that does not repeat them.

    >>> refuse_secrets({"base_url": "https://me:secret@host/v1"}, "model")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: model.base_url: expected no user, password or query in it
    """
    name = options.get("api_key_env")
    if name is not None and not re.fullmatch("[A-Z][A-Z0-9_]*", str(name)):
        told = "expected the NAME of an environment variable, in capitals, not the key itself"
        raise VlgroundError(f"{group}.api_key_env: {told}")
    address = urlsplit(str(options.get("base_url") or ""))
    if address.username or address.password or address.query:
        raise VlgroundError(f"{group}.base_url: expected no user, password or query in it")
