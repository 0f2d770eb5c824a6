"""Scores of maps against ground truth, and the statistics of many of them."""

from vlground.metrics.grounding import QGroundCAM, q_groundcam

__all__ = ["QGroundCAM", "q_groundcam"]
