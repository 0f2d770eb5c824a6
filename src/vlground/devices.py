"""Which GPUs there are, and which of them a launcher's process takes."""

import os
from multiprocessing import current_process


def gpus() -> list[str]:
    """Names of the GPUs that may be used: those of `CUDA_VISIBLE_DEVICES`, or all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def gpu_of_worker() -> str:
    """The GPU of this process of a pool, for `CUDA_VISIBLE_DEVICES`; "": there is none.

    By the number of the process, not of the job: a process keeps the GPU on which it began, and two
    that run side by side have numbers that follow each other.
    """
    known = gpus()
    number = current_process().name.rpartition("-")[2]
    place = int(number) - 1 if number.isdigit() else 0
    return known[place % len(known)] if known else ""
