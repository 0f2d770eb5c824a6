"""Candidates that were written elsewhere."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vlground.contracts import Caption, Captioner
from vlground.data.records import image_id_of, read_records, tell, text_of
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

_TEXT = ("caption", "text")
_ENDINGS = (".json", ".jsonl")


class FileCaptioner(Captioner):
    """Candidates of an image are its captions in a file, in their order.

    The file holds objects with an image (`image_id`, or `image`, a file's name) and a text
    (`caption` or `text`): a JSON list, JSON lines, or objects one after the other. In a folder of
    such files, `.json` and `.jsonl`, or a list of files, an image has all its captions of the first
    file (by name, or in the list), then those of the second: with one an image in each file,
    candidate `i` comes from file `i`. Prompts and seed are not read.

    Args:
        file: The file, or the folder, or several of either.

    Attributes:
        counts: Reason -> number of records that became no candidate; each is in the log.

    Raises:
        VlgroundError: If there is no such file, or no caption in it.
    """

    version: ClassVar[int] = 1

    def __init__(self, file: str | Sequence[str]) -> None:
        named = [file] if isinstance(file, str) else list(file)
        files = [one for name in named for one in _files(Path(name).expanduser())]
        self.counts: Counter[str] = Counter()
        self._captions: dict[str, list[Caption]] = {}
        for one in files:
            self._add(one)
        if not self._captions:
            raise VlgroundError(f"model.file={', '.join(named)}: no caption there")

    def caption(
        self, samples: Sequence[Sample], prompts: Sequence[str], n: int, seed: int, first: int = 0
    ) -> list[list[Caption]]:
        """The captions `first` … `n - 1` of every sample's image.

        Returns:
            Where the file has fewer than `n`, the rest have the problem `fewer captions in
            model.file than asked`.
        """
        missing = Caption("", problem="fewer captions in model.file than asked")
        rows = []
        for sample in samples:
            known = self._captions.get(image_id_of({"image_id": sample.image_id}) or "", [])
            rows.append([*known[:n], *[missing] * (n - len(known))][first:])
        return rows

    def _add(self, file: str) -> None:
        found = read_records("model.file", file)
        left_out: list[tuple[str, str]] = []
        for place, record in found.records:
            image_id, text = image_id_of(record), text_of(record, _TEXT)
            if "label" in record and "caption" not in record:
                left_out.append((place, "a question"))  # POPE's files lie beside its captions
            elif image_id is None or text is None:
                left_out.append((place, "no caption" if text is None else "no image id"))
            else:
                self._captions.setdefault(image_id, []).append(Caption(text.strip()))
        tell(found.path, left_out)
        self.counts += Counter(found.skipped) + Counter(reason for _, reason in left_out)


def _files(path: Path) -> list[str]:
    """A file, or those of a folder in the order of their names."""
    if not path.is_dir():
        return [str(path)]
    return [str(one) for one in sorted(path.iterdir()) if one.suffix in _ENDINGS]
