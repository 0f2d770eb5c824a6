"""A drawn world with exact ground truth: scenes of shapes, and data sets made from them (ours)."""
