"""An RI run that ends itself by SIGKILL at a chosen moment: for a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from ri_analysis.encoder import Encoder
from ri_analysis.resolving import Losses, plan, resolve, together, trainer
from ri_analysis.suite import open_suite
from ri_analysis.training import descent, start


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    """Return `function`, after which the process ends where `when`, given the same arguments, says so."""

    @wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        if when(*arguments):
            _die()
        return result

    return wrapped


def _half_a_state(state: Any, stream: Any) -> None:
    stream.write(b"half a state")
    stream.flush()
    _die()


def _half_the_tokens(encoder: Encoder, *arguments: Any) -> Any:
    yield next(_tokens(encoder, *arguments))
    if len(arguments[1]) > 1:  # not the one that shows their shape
        _die()


_tokens = Encoder.tokens

MOMENTS: dict[str, Callable[[], None]] = {
    "at once": lambda: setattr(plan, "decided", _after(plan.decided, lambda *_: True)),
    "making tokens": lambda: setattr(Encoder, "tokens", _half_the_tokens),
    "saving": lambda: setattr(torch, "save", _half_a_state),
    "expert written": lambda: setattr(trainer, "write_safetensors", _after(trainer.write_safetensors, lambda *_: True)),
    "share written": lambda: setattr(
        together, "write_safetensors", _after(together.write_safetensors, lambda path, *_: path.stem == "share")
    ),
    "share taken": lambda: setattr(together, "write_safetensors", _after(together.write_safetensors, lambda *_: True)),
    "record written": lambda: setattr(
        trainer, "write_text", _after(trainer.write_text, lambda path, text: path.name == "resolve.json")
    ),
}
"""When to end, by name; "step N" ends after the N-th step of this process."""


def run(suite: str, folder: Path, settings: dict[str, Any], moment: str, tokens_on_disk: bool, jobs: int = 1) -> None:
    """Begin or resume a run; end at `moment`, or with the run."""
    torch.set_num_threads(1)
    descent.SAVE_SECONDS = -1.0  # save after every step
    if tokens_on_disk:
        start.IN_MEMORY = 0
    if moment in MOMENTS:
        MOMENTS[moment]()
    left = int(moment.removeprefix("step ")) if moment.startswith("step ") else 0

    def report(_: Losses) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            _die()

    resolve(
        open_suite(suite),
        auxiliary="other",
        name="x",
        tasks=("Reds", "Blues"),
        settings=settings,
        directory=folder,
        resume=True,
        jobs=jobs,
        report=report,
    )
