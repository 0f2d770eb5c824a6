"""Scorers: differentiable scores of (image, text)."""
