"""Minimise a loss over the tower's weights on auxiliary images: AdamW, seeded batches, states to resume from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ri_analysis.encoder import Encoder
from ri_analysis.errors import InputError, NotFinite
from ri_analysis.files import atomic_path
from ri_analysis.hyperparameters import Value
from ri_analysis.suite import ImageSet

HISTORY_POINTS = 200  # loss values kept of a run
SAVE_SECONDS = 30.0  # between two states that a stopped run resumes from


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + float(np.cos(np.pi * (step - 1) / steps)))


def _warm_cosine(step: int, steps: int) -> float:
    # Adam's first steps are as long for a weight whose gradient is noise as for any other; short ones spoil less.
    warm = steps // 10
    return step / warm if step < warm else _cosine(step - warm, steps - warm)


SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "cosine": _cosine,
    "warm-cosine": _warm_cosine,
}
"""The learning rate of a step, counted from 1, by the steps in all, as a share of the highest: constant; half a cosine
down to 0; the same after rising in a straight line over a tenth of the steps."""

Indices = npt.NDArray[np.int64]
# unit features (batch, embed_dim) of the images at these indices → loss parts; the last one is minimised
Loss = Callable[[torch.Tensor, Indices], tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class Descent:
    """A run over the weights that the encoder holds.

    `settings` are the trainer's hyperparameters, `seed` numbers that decide the order of the images, `state` the file
    from which a stopped run resumes and which is there only while the run is not finished.
    """

    encoder: Encoder
    images: ImageSet
    settings: Mapping[str, Value]
    seed: tuple[int, ...]
    state: Path

    def run(self, loss: Loss, report: Callable[[int, tuple[float, ...]], None]) -> list[list[float]]:
        """Take the steps that are left; return [step, *loss parts] rows of the whole run.

        `report` is called with the step and its loss parts, and may raise Cancelled. Raises NotFinite for a loss that
        is not a finite number.
        """
        module = self.encoder.module
        parameters = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
        steps, rate = int(self.settings["steps"]), float(self.settings["lr"])
        schedule = SCHEDULES[str(self.settings["schedule"])]
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=float(self.settings["weight_decay"]))
        done, history = self._restore(optimizer)
        every, saved = max(1, steps // HISTORY_POINTS), time.monotonic()
        module.requires_grad_(True)
        try:
            for step, rows in enumerate(self._batches(steps), 1):
                if step <= done:
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = rate * schedule(step, steps)
                pixels = self.images.pixels(rows, self.encoder.image_size)
                parts = loss(self.encoder.forward(self.encoder.preprocess(pixels)), rows)
                optimizer.zero_grad(set_to_none=True)
                if not torch.isfinite(parts[-1]):
                    raise NotFinite(
                        f"{self.state.parent}: the loss of step {step} is not a finite number; choose a smaller "
                        f"learning rate than lr = {rate:g}, or look at the experts by `ri-analysis check`"
                    )
                parts[-1].backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                values = tuple(part.item() for part in parts)
                if step % every == 0 or step in (1, steps):
                    history.append([step, *values])
                if time.monotonic() - saved > SAVE_SECONDS:
                    self._save(step, optimizer, history)
                    saved = time.monotonic()
                report(step, values)
        finally:
            module.requires_grad_(False)
        return history

    def rows(self) -> Indices:
        """Return the indices of the images that its batches hold, sorted: a short run does not reach all of them."""
        return np.unique(np.concatenate(list(self._batches(int(self.settings["steps"])))))

    def _batches(self, steps: int) -> Iterator[Indices]:
        """Yield `steps` batches of image indices: epochs of permutations, the same for a resumed run."""
        generator = np.random.default_rng(self.seed)
        size, order = min(int(self.settings["batch"]), len(self.images)), np.zeros(0, dtype=np.int64)
        for _ in range(steps):
            if len(order) < size:
                order = np.concatenate([order, generator.permutation(len(self.images))])
            yield order[:size]
            order = order[size:]

    def _save(self, step: int, optimizer: torch.optim.Optimizer, history: list[list[float]]) -> None:
        state = {"step": step, "history": history, "optimizer": optimizer.state_dict()}
        with atomic_path(self.state) as temporary, temporary.open("wb") as stream:
            try:
                torch.save(state | {"weights": self.encoder.state()}, stream)
            except RuntimeError as error:
                # Where the disk is full, only what PyTorch met says so.
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    def _restore(self, optimizer: torch.optim.Optimizer) -> tuple[int, list[list[float]]]:
        """Load the last saved state, if there is one; return its step and loss history."""
        if not self.state.exists():
            return 0, []
        try:
            state = torch.load(self.state, map_location=self.encoder.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError) as error:
            raise InputError(f"{self.state}: expected a saved state, found: {error}; delete it") from error
        self.encoder.load(state["weights"], str(self.state))
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), list(state["history"])
