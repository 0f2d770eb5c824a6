"""A process and W&B: who is logged in, whether a W&B sweep asked, and how a run ends."""

import json
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit


def hush() -> None:
    """Let W&B say only what went wrong; it reads the variable when its session begins."""
    os.environ.setdefault("WANDB_SILENT", "true")


def logged_in() -> bool:
    """Whether there are credentials for the W&B server that is configured."""
    import wandb

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(wandb.setup().settings.base_url).netloc
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def of_sweep() -> bool:
    """Whether the agent of a W&B sweep began this process; it has opened the W&B run already."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def close(exit_code: int) -> list[str]:
    """End the run of this process, if there is one.

    Returns:
        What could not be uploaded. W&B itself only prints that, and says nothing to the caller.
    """
    import wandb

    run = wandb.run
    if run is None or run.disabled:
        wandb.finish(exit_code)
        return []
    journal = Path(run.settings.log_internal)
    run.finish(exit_code)
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    errors = [str(r["msg"]) for r in records if str(r["level"]).startswith("ERROR")]
    return [" ".join(error.split()) for error in errors]


def one_line(error: Exception) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
