"""Judges: how well what is shown of an image supports a label, on a rubric of 0-5."""
