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
    such files, `.json` and `.jsonl`, the first candidate of an image comes from the first file by
    name. Prompt and seed are not read.

    Args:
        file: The file, or the folder.

    Attributes:
        skipped: Reason -> number of records that became no candidate; each is in the log.

    Raises:
        VlgroundError: If there is no such file, or no caption in it.
    """

    version: ClassVar[int] = 1

    def __init__(self, file: str) -> None:
        path = Path(file).expanduser()
        files = [str(path)]
        if path.is_dir():
            files = [str(one) for one in sorted(path.iterdir()) if one.suffix in _ENDINGS]
        self.skipped: Counter[str] = Counter()
        self._captions: dict[str, list[Caption]] = {}
        for one in files:
            self._add(one)
        if not self._captions:
            raise VlgroundError(f"model.file={file}: no caption there")

    def caption(
        self, samples: Sequence[Sample], prompt: str, n: int, seed: int
    ) -> list[list[Caption]]:
        """The first `n` captions of every sample's image.

        Returns:
            Of each sample `n`; where the file has fewer, the rest have the problem `fewer captions
            in model.file than asked`.
        """
        missing = Caption("", problem="fewer captions in model.file than asked")
        rows = []
        for sample in samples:
            known = self._captions.get(image_id_of({"image_id": sample.image_id}) or "", [])
            rows.append([*known[:n], *[missing] * (n - len(known))])
        return rows

    def _add(self, file: str) -> None:
        found = read_records("model.file", file)
        left_out: list[tuple[str, str]] = []
        for place, record in found.records:
            image_id, text = image_id_of(record), text_of(record, _TEXT)
            if image_id is None or text is None:
                left_out.append((place, "no caption" if text is None else "no image id"))
            else:
                self._captions.setdefault(image_id, []).append(Caption(text.strip()))
        tell(found.path, left_out)
        self.skipped += Counter(found.skipped) + Counter(reason for _, reason in left_out)
