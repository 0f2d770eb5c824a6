"""Runs the commands as a user does: in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Two processes that compute share the cores, so waiting threads must not spin.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


def vlground(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run `vlground`; both outputs together, and the exit code is checked."""
    return command("vlground", *arguments, cwd=cwd, code=code)


def command(module: str, *arguments: str, cwd: Path, code: int = 0) -> str:
    """Run `python -m module`."""
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    output = process.stdout + process.stderr
    assert process.returncode == code, output
    return output


def results(runs: Path) -> list[dict[str, Any]]:
    """All results under a folder, in the order of their titles."""
    return [json.loads(path.read_text()) for path in sorted(runs.glob("*/*/results.json"))]
