"""Shortcuts of a classifier: suspicions from its maps, trials of them, and verdicts over models."""
