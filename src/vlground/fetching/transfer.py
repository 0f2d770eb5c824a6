"""Files over http: resumed where they broke off, checked, and moved into place whole."""

import hashlib
import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from socket import gaierror
from ssl import SSLError
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from vlground.errors import VlgroundError

_CHUNK = 1 << 20
_ATTEMPTS = 5  # at a transfer that breaks off, each from where the last one ended
_TIMEOUT = 60  # seconds without a byte


def download(url: str, path: Path, checksum: str | None, pause: float = 2.0) -> None:
    """Make `path` the content of an address.

    What has arrived lies in `<path>.part` until it is whole, also between two commands. It goes on
    from there only if the server says that its file is still the same one.

    Args:
        url: http or https.
        path: Its folder is made.
        checksum: See `check`; None: not known.
        pause: Seconds before the second attempt; twice as long before each further one.

    Raises:
        VlgroundError: In one line: no such address, a web page in its place, broken off too often,
            wrong checksum (nothing is kept then), or the disk.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(_ATTEMPTS):
            if _continue_or_tell(url, part, last=attempt + 1 == _ATTEMPTS):
                break
            time.sleep(pause * 2**attempt)
        if checksum is not None:
            check(part, checksum, url)
        os.replace(part, path)
        _validator(part).unlink(missing_ok=True)
    except OSError as error:
        raise VlgroundError(f"{path}: cannot write: {error.strerror or error}") from error


def check(file: Path, checksum: str, source: str) -> None:
    """Make sure that a file is the one that was published; delete it if it is not.

    Args:
        file: Which.
        checksum: `sha256:` or `md5:` and hex digits, the first of them at least; `git:` and the
            name of git's blob.
        source: Where it is from.

    Raises:
        VlgroundError: If it is another one.
    """
    found = digest(file, checksum.partition(":")[0])
    if found.startswith(checksum):
        return
    file.unlink()
    _validator(file).unlink(missing_ok=True)
    raise VlgroundError(f"{source}: checksum is {found}, expected {checksum}; not kept")


def digest(file: Path, kind: str) -> str:
    """The checksum of a file, `kind:digits`.

    Args:
        file: Which.
        kind: As in `check`.
    """
    whole = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        whole.update(b"blob %d\0" % file.stat().st_size)
    with file.open("rb") as handle:
        while block := handle.read(_CHUNK):
            whole.update(block)
    return f"{kind}:{whole.hexdigest()}"


def _continue_or_tell(url: str, part: Path, last: bool) -> bool:
    """One attempt: whether all of it is there now."""
    try:
        _continue(url, part)
    except HTTPError as error:
        if error.code != 416 or not part.exists():
            raise VlgroundError(f"{url}: {error.code} {error.reason}") from error
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if whole == str(part.stat().st_size):  # killed before it was checked
            return True
        part.unlink()  # of another file
        return False
    except (URLError, ConnectionError, TimeoutError, SSLError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else None
        if isinstance(reason, gaierror | ConnectionRefusedError):
            raise VlgroundError(f"{url}: cannot be reached: {reason.strerror}") from error
        if last:
            told = f"broke off {_ATTEMPTS} times, {error}; start again to go on"
            raise VlgroundError(f"{url}: {told}") from error
        return False
    return True


def _continue(url: str, part: Path) -> None:
    """Append what is missing; if the server cannot or the file is another one, begin anew."""
    there = part.stat().st_size if part.exists() else 0
    known = _validator(part).read_text() if there and _validator(part).exists() else ""
    headers = {"User-Agent": "vlground"}
    if known:
        headers |= {"Range": f"bytes={there}-", "If-Range": known}
    with urlopen(Request(url, headers=headers), timeout=_TIMEOUT) as response:
        if response.headers.get_content_type() == "text/html":
            told = "a web page came, not the file; it may want a login. Open it in a browser"
            raise VlgroundError(f"{url}: {told}")
        begun = response.status == 206
        strong = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        _validator(part).write_text("" if strong.startswith("W/") else strong)
        length = response.headers.get("Content-Length")
        with part.open("ab" if begun else "wb") as file:
            received = _copy(
                response, file, None if length is None else there * begun + int(length)
            )
    # http.client ends a body that broke off like one that is whole.
    if length is not None and received < int(length):
        raise ConnectionError(f"{received} of {length} bytes arrived")


def _copy(response: BinaryIO, file: BinaryIO, whole: int | None) -> int:
    received = 0
    shown = sys.stderr.isatty()
    while block := response.read(_CHUNK):
        received += file.write(block)
        if shown:
            of = "" if whole is None else f" of {whole / 1e6:,.0f}"
            print(f"\r  {file.tell() / 1e6:,.0f}{of} MB ", end="", file=sys.stderr, flush=True)
    if shown:
        print(file=sys.stderr)
    return received


def _validator(part: Path) -> Path:
    """Beside what has arrived: by what the server knows its file again."""
    return part.with_name(f"{part.name}.etag")
