"""Data sets: sequences of `Sample`. Importing them never imports torch."""
