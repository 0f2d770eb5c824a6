"""Phrases as they are looked up."""

from vlground.data.links import unlinked


def folded(phrase: str) -> str:
    """A phrase without links, and without regard to case and spacing.

    >>> folded(" Wine  Glass[1,2,3,4]")
    'wine glass'
    """
    return " ".join(unlinked(phrase).casefold().split())
