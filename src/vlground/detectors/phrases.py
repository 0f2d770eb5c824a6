"""Phrases as they are looked up."""


def folded(phrase: str) -> str:
    """A phrase without regard to case and spacing.

    >>> folded(" Wine  Glass")
    'wine glass'
    """
    return " ".join(phrase.casefold().split())
