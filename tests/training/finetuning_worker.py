"""One fine-tuning on `devices` gloo processes; started by test_finetuning in its own process."""

import sys
from pathlib import Path

import torch
from tests.training.tuning import carry_out, task


def main(folder: str, devices: str, pretraining: str) -> None:
    """Train for three steps; rank 0 saves the model."""
    torch.set_num_threads(1)
    seen = pretraining == "True" or None
    made = task(Path(folder), steps=3, checkpoint_every=3, pretraining=seen)
    strategy = "ddp_find_unused_parameters_true" if int(devices) > 1 else "auto"
    carry_out(made, devices=int(devices), strategy=strategy)


if __name__ == "__main__":
    main(*sys.argv[1:])
