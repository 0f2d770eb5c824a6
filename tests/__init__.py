"""`vlground` comes first: its torchvision hook has to be there before lightning is imported."""

import vlground  # noqa: F401
