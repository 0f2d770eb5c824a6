"""What a result was made with: versions of the packages, state of the checkout."""

import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_STACK = ("vlground", "torch", "lightning", "timm", "transformers", "grad-cam", "numpy", "scipy")


@cache
def stack() -> dict[str, str]:
    """Versions of the packages that numbers may depend on."""
    return {name: version(name) for name in _STACK}


@cache
def git_state() -> dict[str, Any] | None:
    """Commit of the checkout vlground runs from, and whether it was changed; None outside one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None  # installed inside somebody else's checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
