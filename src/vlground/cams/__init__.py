"""CAMs: activation maps as functions of a scorer's score."""
