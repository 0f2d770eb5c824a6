"""Small drawn data for tests."""

from typing import ClassVar

import numpy as np

from vlground.data.sample import Sample


def planted(images: int, texts: tuple[int, int] = (1, 1), size: int = 64) -> list[Sample]:
    """Images with bright cells of a 4 × 4 grid; the text names the cell, the box is the cell.

    Args:
        images: How many.
        texts: Fewest and most texts of an image; which, is drawn from its number.
        size: Side in pixels.
    """
    samples = []
    cell = size // 4
    for number in range(images):
        rng = np.random.default_rng(number)
        cells = rng.choice(16, size=rng.integers(texts[0], texts[1] + 1), replace=False)
        pixels = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
        places = [divmod(int(c), 4) for c in cells]
        for row, column in places:
            pixels[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 255
        for row, column in places:
            box = np.array([[column, row, column + 1, row + 1]], dtype=np.float64) * cell
            text = f"{row} {column}"
            foil = f"{3 - row} {3 - column}"
            name = f"{number}/{text}"
            samples.append(Sample(name, str(number), pixels, text, foil=foil, boxes=box))
    return samples


class Twice:
    """A data set that gives two samples one id."""

    skipped: ClassVar[dict[str, int]] = {}

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return Sample("a", str(index), np.zeros((4, 4, 3), np.uint8), "red")
