"""What an RI run will take, said before it starts: time from steps measured here, memory, disk, and what it writes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ri_analysis.checkpoints import outlines
from ri_analysis.encoder import Architecture, Encoder, load_heads
from ri_analysis.encoder.activation import fitting_architecture
from ri_analysis.hyperparameters import Value, complete
from ri_analysis.memory import fitting
from ri_analysis.resolving import evidence, plan
from ri_analysis.resolving.objective import Objective, Terms
from ri_analysis.resolving.settings import HYPERPARAMETERS, free_weights
from ri_analysis.resolving.trainer import default_settings, order_seed, pool
from ri_analysis.suite import ORIGINAL, Suite, sample
from ri_analysis.suite.images import Indices, KeptImages
from ri_analysis.suite.suite import RECORD
from ri_analysis.training import parameters, precision
from ri_analysis.training.descent import AHEAD, Descent, drawn
from ri_analysis.training.parts import bytes_per_image
from ri_analysis.training.start import Rows, Start, Tokens, begin, room
from ri_analysis.training.variants import Variants

_FEW, _MORE = 4, 16  # images of the steps that are timed
_STEPS = 3  # steps of each trial, of which the first sets up what the others use


@dataclass(frozen=True)
class Pace:
    """What work takes on this machine at its present load, in seconds, and what an image needs in memory, in bytes.

    `step` is what a step takes whatever its images, `trained` each of its images, `seen` an image that a teacher looks
    at. `held` is what backpropagation holds of an image, `tokens` what enters the trained blocks where that is kept.
    """

    step: float
    trained: float
    seen: float
    decoded: float
    varied: float
    held: int
    tokens: int
    features: int  # bytes of an image's features
    tower: int  # bytes of the tower's weights
    file: int  # bytes of an adapted expert as it is written, in the number format of the original
    moved: int  # bytes of what the optimiser moves
    beside: int  # bytes that training holds beside the tower: gradients, the optimiser's, LoRA's factors
    precision: str


@dataclass(frozen=True)
class Forecast:
    """What a run will take and write: times in seconds, sizes in bytes, above what the program itself takes."""

    folder: str
    files: tuple[str, ...]
    seconds: float
    step_seconds: float
    memory: int
    disk: int  # of the finished set
    disk_meanwhile: int  # of states to resume from, and of tokens and decoded images that are kept on disk
    disk_free: int
    images: int  # different ones of the source that are decoded
    held_out: int  # of these, never trained on
    passes: int  # images through a training step
    precision: str

    @property
    def obstacle(self) -> str:
        """Why the run would fail for want of room; empty where it would not."""
        needed = self.disk + self.disk_meanwhile
        return "" if needed <= self.disk_free else f"needs {size(needed)} on a disk with {size(self.disk_free)} free"


def size(count: float) -> str:
    """Return a number of bytes in the unit that reads best: "3.2 MB"."""
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 9.95 else f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} GB"


def forecast(
    suite: Suite,
    *,
    auxiliary: str,
    name: str,
    pace: Pace,
    settings: Mapping[str, object] | None = None,
    tasks: Sequence[str] | None = None,
    directory: Path | None = None,
    seed: int = 0,
) -> Forecast:
    """Return what `resolve` with the same arguments will take at a measured `pace`; nothing is written.

    Raises InputError for what `resolve` would refuse.
    """
    names = tuple(tasks or suite.tasks)
    values = complete(HYPERPARAMETERS, {**default_settings(suite), **(settings or {})}, "resolve")
    free_weights(values, suite.tasks)
    folder, source = plan.folder_of(suite, name, directory), suite.auxiliary_data(auxiliary)
    plan.check_free(folder)
    taught = evidence.training_images(len(source), float(values["held_out"]), seed)
    views = int(values["views"])
    architecture = fitting_architecture(suite, names)
    chosen = pool(len(taught) * views, values, seed, architecture.large)
    variants = len(chosen)
    rows = [drawn(variants, values, order_seed(seed, task)) for task in names]
    whole = np.unique(np.concatenate(rows))
    reached = np.unique(chosen[whole] % len(taught))
    held = len(evidence.held_out(len(source), taught[reached], values, seed))
    batch, stage = min(int(values["batch"]), variants), int(values["together"])
    steps = len(names) * int(values["steps"]) + stage
    again = len(drawn(variants, {**values, "steps": stage}, (seed,))) if stage else 0
    looked = len(whole) + sum(map(len, rows)) + (1 + len(names)) * held + len(names) * again
    looks = (int(values["steps"]) // evidence.interval(values) + 1) * len(names) * held
    image_seconds = (pace.decoded + (views - 1) * pace.varied) / views
    pixels = architecture.image_size**2 * 3
    in_memory = variants * pixels <= room()
    step_seconds = pace.step + pace.trained * batch
    if not in_memory and not pace.tokens:  # pixels are made anew for each step, while the one before is under way
        step_seconds = max(step_seconds, batch * image_seconds)
    tokens = max(again, *map(len, rows)) * pace.tokens
    patient = pace.moved if values["patience"] else 0
    ahead = variants * image_seconds if in_memory else looked * image_seconds
    memory = 3 * pace.tower + pace.beside + patient  # the tower, the expert and the pretrained model
    memory += min(fitting(int(float(values["memory"]) * 2**30)), int(batch * pace.held))
    memory += variants * pixels if in_memory else (AHEAD + 1) * batch * pixels
    memory += tokens if tokens <= room() else 0
    memory += (len(whole) + max(max(map(len, rows)), len(names) * again)) * pace.features
    meanwhile = 3 * pace.moved + patient + (tokens if tokens > room() else 0)
    images = len(np.unique(chosen % len(taught)) if in_memory else reached) + held
    if isinstance(source, KeptImages):
        meanwhile += images * pixels
    return Forecast(
        folder=str(folder),
        files=(*(plan.expert_path(folder, task).name for task in names), RECORD),
        seconds=steps * step_seconds + ahead + looked * pace.seen + looks * pace.trained / 3,
        step_seconds=step_seconds,
        memory=memory,
        disk=len(names) * pace.file,
        disk_meanwhile=meanwhile,
        disk_free=shutil.disk_usage(_existing(folder)).free,
        images=images,
        held_out=held,
        passes=steps * batch,
        precision=pace.precision,
    )


def _existing(folder: Path) -> Path:
    """Return the innermost folder that is there."""
    return folder if folder.exists() else _existing(folder.absolute().parent)


def affects_pace(settings: Mapping[str, Value], architecture: Architecture) -> dict[str, Value]:
    """Return the settings on which a Pace depends: runs that share them share it."""
    names = ["parameters", "blocks", "rank", "precision", "distance"]
    if settings["precision"] == "auto" and architecture.large:  # decided by the run's first steps, see `decide`
        names += ["steps", "lr", "schedule"]
    return {name: settings[name] for name in names}


def pace(
    suite: Suite,
    auxiliary: str,
    settings: Mapping[str, Value],
    tasks: Sequence[str],
    device: str | torch.device = "cpu",
) -> Pace:
    """Take a few steps with the first expert and keep nothing of them; return what they took.

    Raises InputError where the tower can't be trained in this way.
    """
    return _Trial(suite, auxiliary, settings, tuple(tasks), device).pace()


class _Trial:
    def __init__(
        self,
        suite: Suite,
        auxiliary: str,
        settings: Mapping[str, Value],
        tasks: tuple[str, ...],
        device: str | torch.device,
    ) -> None:
        self._suite, self._settings, self._task = suite, dict(settings) | {"memory": 1024.0}, tasks[0]
        architecture = fitting_architecture(suite, tasks)
        self._encoder = Encoder(architecture, device, batch=_MORE)
        self._trained = parameters.trained_weights(self._encoder, settings)
        heads, distance = load_heads(suite, architecture, tasks), str(settings["distance"])
        self._objective = Objective(heads, self._task, 1.0, self._encoder.device, distance)
        self._images = sample(suite.auxiliary_data(auxiliary), _MORE)
        rows, size = np.arange(len(self._images)), architecture.image_size
        self._decoded = _seconds(lambda: self._images.pixels(rows, size)) / len(rows)  # before anything has decoded it
        views = Variants(self._images, 2, 0)
        self._varied = _seconds(lambda: views.pixels(rows + len(rows), size)) / len(rows)
        vectors = suite.task_vectors(ORIGINAL, (self._task,))
        self._weights = {name: vectors.expert(name, self._task) for name in vectors.names}

    def pace(self) -> Pace:
        encoder, rows = self._encoder, np.arange(len(self._images))

        def agreement() -> tuple[list[float], float]:
            losses, moments = self._steps(min(precision.BATCH, len(rows)))
            return losses, np.diff(moments).min() + precision.look(encoder, self._images, len(rows))

        number_format = precision.decide(str(self._settings["precision"]), encoder, agreement)
        precision.compute_in(number_format, encoder)
        few, more = (self._seconds(count) for count in (_FEW, _MORE))
        trained = max((more - few) / (_MORE - _FEW), 0.2 * more / _MORE)
        start, expert = self._begin(rows)
        seen = _seconds(lambda: encoder.features(self._weights, self._images, rows)) / len(rows)
        moved = _bytes(parameters.variables(self._trained, self._settings, (0,)).variables)
        trained_weights = _bytes(self._trained)
        low_rank = self._settings["parameters"] == "lora"  # whose factors and start lie beside the tower
        for weight in self._trained.values():
            weight.requires_grad_(True)
        held = bytes_per_image(encoder, start, start.fetch(rows[:2]))
        encoder.module.requires_grad_(False)
        return Pace(
            step=max(0.0, more - trained * _MORE),
            trained=trained,
            seen=seen,
            decoded=self._decoded,
            varied=self._varied,
            held=held,
            tokens=start.held.values[:1].nbytes if isinstance(start, Tokens) else 0,
            features=expert.values[:1].nbytes,
            tower=sum(tensor.nbytes for tensor in encoder.module.state_dict().values()),
            file=_bytes(self._suite.tower(self._suite.expert(self._task)).tensors),
            moved=moved,
            beside=2 * trained_weights + 4 * moved if low_rank else trained_weights + 2 * moved,
            precision=number_format,
        )

    def _seconds(self, count: int) -> float:
        _, moments = self._steps(count)
        return float(np.diff(moments).min())

    def _steps(self, count: int) -> tuple[list[float], list[float]]:
        """Take steps of `count` images each; return the losses, and when each step had ended."""
        descent = Descent(self._encoder, len(self._images), self._settings | {"batch": count}, (0,), None, _STEPS)
        start, expert = self._begin(np.arange(len(self._images)))
        device, losses, moments = self._encoder.device, list[float](), list[float]()

        def loss(adapted: torch.Tensor, rows: Indices) -> Terms:
            teacher = expert.at(rows).to(device)
            return self._objective(adapted, teacher, teacher)

        def after(_step: int, parts: tuple[float, ...]) -> None:
            losses.append(parts[-1])
            moments.append(time.perf_counter())

        descent.run(start, loss, after)
        return losses, moments

    def _begin(self, rows: Indices) -> tuple[Start, Rows]:
        source = str(self._suite.expert(self._task).path)
        return begin(self._encoder, self._weights, self._images, rows, self._settings, Path(), source)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in outlines(tensors).values())
