"""Where models run: the CPU or a GPU of this machine, and what to say when there is none or its memory is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ri_analysis.errors import InputError


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; "auto" is the GPU when there is one. Raises InputError when it is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    try:
        device = torch.device(name)
        there = device.type != "cuda" or (device.index or 0) < count
        if there:
            torch.ones(1, device=device).item()  # "meta" can't
    except (RuntimeError, AssertionError, NotImplementedError):
        there = False
    if not there:
        raise InputError(f"--device: expected auto, cpu{_gpus(count)}, found {name!r}")
    return device


def _gpus(count: int) -> str:
    named = ", ".join(f"cuda:{index}" for index in range(count))
    return f" or one of this machine's GPUs ({named})" if count else " (PyTorch finds no GPU on this machine)"


def compute_alike(device: torch.device) -> None:
    """Have float32 mean float32 on a GPU, as on the CPU, and the same input give the same features again.

    By default cuDNN rounds the inputs of convolutions, and so every image's patches, to TF32's 10 bits, and may choose
    algorithms that add up in another order each time.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


@contextmanager
def within_memory(device: torch.device) -> Iterator[None]:
    """Raise InputError where the memory of a GPU is full."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{device}: expected room for the model and a batch of images, found the GPU's memory full "
            f"({str(error).partition('. ')[0]}); close other programs that use it, give RI a smaller 'batch' or "
            f"'memory', get smaller batches with --memory SIZE, or use --device cpu"
        ) from error
