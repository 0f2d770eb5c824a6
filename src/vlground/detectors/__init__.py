"""Whether a thing that a caption names is in the image, and where."""
