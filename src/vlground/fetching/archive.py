"""Unpacking archives so that a folder is there whole, or not at all."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vlground.errors import VlgroundError


def unpack(archive: Path, folder: Path, members: Sequence[str]) -> None:
    """Put members of a zip into a folder and delete the archive.

    They are unpacked into `<archive>.unpacked` first, and moved when all of them are there. A
    command that is killed leaves that folder and the archive; the next one goes on. Where a member
    is there already, as somebody else's unpacking left it, files that it lacks or that have another
    length are put into it.

    Args:
        archive: A zip.
        folder: Where to.
        members: Files or folders at its top.

    Raises:
        VlgroundError: If it is no zip or a damaged one, lacks a member, wants to write outside the
            folder, or the disk is full. What is whole of it stays.
    """
    aside = archive.with_name(f"{archive.name}.unpacked")
    try:
        with zipfile.ZipFile(archive) as content:
            for entry in _entries(content, members, archive):
                _extract(content, entry, aside / entry.filename)
        folder.mkdir(parents=True, exist_ok=True)
        for member in members:
            _move(aside / member, folder / member)
        shutil.rmtree(aside)
        archive.unlink()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        shutil.rmtree(aside, ignore_errors=True)  # the next archive may be another one
        told = "no whole zip; remove it and start again"
        raise VlgroundError(f"{archive}: {told}: {error}") from error
    except OSError as error:
        raise VlgroundError(f"{archive}: cannot be unpacked: {error.strerror or error}") from error


def _entries(
    content: zipfile.ZipFile, members: Sequence[str], archive: Path
) -> list[zipfile.ZipInfo]:
    entries = [entry for entry in content.infolist() if not entry.is_dir()]
    for entry in entries:
        place = PurePosixPath(entry.filename.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or not place.parts:
            told = f"wants to write outside the folder: {entry.filename}; nothing is unpacked"
            raise VlgroundError(f"{archive}: {told}")
    tops = {PurePosixPath(entry.filename).parts[0] for entry in entries}
    if lacking := [member for member in members if member not in tops]:
        raise VlgroundError(f"{archive}: has no {', '.join(lacking)}")
    return [entry for entry in entries if PurePosixPath(entry.filename).parts[0] in members]


def _extract(content: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path) -> None:
    """Write one file, unless it is there; one that was being written is shorter."""
    if file.is_file() and file.stat().st_size == entry.file_size:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with content.open(entry) as source, file.open("wb") as target:
        shutil.copyfileobj(source, target)  # zipfile compares the CRC at the end


def _move(source: Path, target: Path) -> None:
    if not target.exists():
        os.replace(source, target)
        return
    files = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
    for file in files:
        place = target / file.relative_to(source) if source.is_dir() else target
        if not place.is_file() or place.stat().st_size != file.stat().st_size:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
