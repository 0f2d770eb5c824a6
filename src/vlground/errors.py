"""The one exception that ends in one clear line for the person at the keyboard."""


class VlgroundError(Exception):
    """Something the user can mend; the message names the file or the option to change."""


class ImpossiblePairError(VlgroundError):
    """Options that cannot go together (a CAM whose `needs` the scorer lacks). Sweeps skip it."""


class ImageError(VlgroundError):
    """An image that cannot be read; counted as a skipped sample, never scored.

    Args:
        message: For whoever wants that image.
        reason: What is counted, without the file's name; None: the message.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message
