"""Adapt every expert of a suite, one after the other or several at once: resumable, cancellable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ri_analysis import __version__
from ri_analysis.caches import discard_seal
from ri_analysis.checkpoints import outlines, read_checkpoint, vision_tower, write_safetensors
from ri_analysis.checkpoints.towers import PREFIX
from ri_analysis.encoder import Architecture, Encoder, Head, load_heads
from ri_analysis.encoder.activation import fitting_architecture
from ri_analysis.encoder.device import within_memory
from ri_analysis.files import remove_left, write_text
from ri_analysis.hyperparameters import Value, complete
from ri_analysis.json_text import to_json
from ri_analysis.progress import Counter, Progress
from ri_analysis.resolving import evidence, plan, together
from ri_analysis.resolving.evidence import HeldOut, Watch
from ri_analysis.resolving.objective import Objective, Terms
from ri_analysis.resolving.record import read_losses, record_of
from ri_analysis.resolving.settings import HYPERPARAMETERS, free_weights, relevant
from ri_analysis.scratch import tensor_in_file
from ri_analysis.suite import ORIGINAL, ImageSet, Suite, open_suite, sample
from ri_analysis.suite.images import Indices, Subset, in_memory
from ri_analysis.suite.suite import RECORD
from ri_analysis.training import parameters, precision
from ri_analysis.training.descent import Descent
from ri_analysis.training.start import Rows, Start, begin, clear, room
from ri_analysis.training.variants import Variants, some
from ri_analysis.workers import Tell, side_by_side, threads_each, worker_number


class Losses(NamedTuple):
    """An expert's losses at a step of its run, in the distance's unit, and all looks at held-out images so far."""

    task: str
    step: int
    keep: float
    free: float
    loss: float
    held_out: tuple[HeldOut, ...] = ()


POOL = 2048  # images that the last blocks of a large tower are trained on, unless `pool` says otherwise


def default_settings(suite: Suite) -> dict[str, Value]:
    """Return the settings a run starts from: those of the suite's default RI set, the paper's where it has none."""
    name = suite.default_resolved
    recorded = record_of(suite, name).get("settings", {}) if name is not None else {}
    known = {item.name for item in HYPERPARAMETERS}
    return complete(HYPERPARAMETERS, {key: value for key, value in recorded.items() if key in known}, "resolve")


def resolve(
    suite: Suite,
    *,
    auxiliary: str,
    name: str,
    images: int | None = None,
    settings: Mapping[str, object] | None = None,
    tasks: Sequence[str] | None = None,
    directory: Path | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
    resume: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    report: Callable[[Losses], None] | None = None,
) -> Path:
    """Adapt the experts of `tasks` on an auxiliary source; return the folder of the new expert set.

    The set joins the suite when its record `resolve.json` is written, as the last file. The record holds name, suite,
    tasks, auxiliary {name, images, digest, oracle}, settings, seed, weights (digests), history {task: [[step, keep,
    free, loss], …]}, together [[step, loss], …] after a second stage, held_out {images, looks {task: [[step, keep,
    free, loss, crosstalk], …]}}, seconds, made (UTC) and versions.
    `progress` counts the steps of all experts and may raise Cancelled: finished experts and the last saved state stay,
    and the same call with `resume` continues from there.

    Parameters
    ----------
    auxiliary: name of an auxiliary source of the suite; its images are all that RI sees.
    name: name of the new expert set.
    images: how many of the source's images are used, drawn by `seed` (all by default); see `sample`.
    settings: values of HYPERPARAMETERS that differ from `default_settings(suite)`.
    tasks: the experts that will be merged (all by default): only their heads enter the objective.
    directory: where the set goes, the suite's folder in the workspace by default.
    jobs: how many experts are adapted at once, each in a process of its own with its share of the cores; on CUDA, each
        process takes the next of the machine's GPUs.
    report: called with the losses at each step.

    Raises InputError for a name in use, unknown settings, or a run that does not match the one to resume.
    """
    names = tuple(tasks or suite.tasks)
    values = complete(HYPERPARAMETERS, {**default_settings(suite), **(settings or {})}, "resolve")
    free_weights(values, suite.tasks)
    folder = plan.folder_of(suite, name, directory)
    order = _Order(auxiliary, images, names, tuple(values.items()), folder, str(device), seed)
    source = order.source(suite)
    wanted = plan.plan(suite, auxiliary, source, names, relevant(values), seed)
    prepared = order.prepare(suite, source)
    encoder = prepared.runs[0].encoder
    with plan.begun(folder, wanted, resume), within_memory(encoder.device):
        prepared = prepared.decoded()
        first, stage = prepared.runs[0], int(values["together"])
        steps = len(names) * int(values["steps"]) + stage
        number_format = plan.decided(
            folder, "precision", lambda: precision.decide(str(values["precision"]), encoder, first.trial)
        )
        precision.compute_in(number_format, encoder)
        pretrained, held = first.pretrained(prepared.rows), prepared.held
        started, counter = time.monotonic(), Counter(progress, steps)
        if jobs > 1 and len(names) > 1:
            work = _Work(str(suite.spec.path), order, number_format, jobs, pretrained.values.shape[1])
            _side_by_side(work, pretrained, counter, report or (lambda _: None))
        else:
            aside = prepared.aside()
            for run in prepared.runs:
                run.carry_out(pretrained, aside, counter, report or (lambda _: None))
        losses = (
            together.correct(suite, encoder, first.images, first.heads, values, seed, folder, counter) if stage else []
        )
        record = wanted | {
            "precision": number_format,
            "name": name,
            "history": {task: read_losses(plan.history_path(folder, task)) for task in names},
            **({"together": losses} if losses else {}),
            "held_out": {
                "images": len(held),
                "looks": {task: read_losses(plan.looks_path(folder, task)) for task in names} if len(held) else {},
            },
            "experts": {task: read_checkpoint(plan.expert_path(folder, task)).digest for task in names},
            "seconds": round(time.monotonic() - started, 1),
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"ri-analysis": __version__, "torch": torch.__version__},
        }
        suite.files.check()
        write_text(folder / RECORD, to_json(record, indent=1) + "\n")
        clear(plan.together_path(folder))
        rows_of = [path(folder, task) for task in names for path in (plan.history_path, plan.looks_path)]
        for leftover in (folder / plan.PLAN, *rows_of):
            leftover.unlink(missing_ok=True)
        for task in names:
            discard_seal(plan.expert_path(folder, task))
        remove_left(folder)  # nothing is written here any more
    return folder


def order_seed(seed: int, task: str) -> tuple[int, ...]:
    """Return what decides the order of the images on which an expert is trained."""
    return (seed, *task.encode())


def pool(variants: int, settings: Mapping[str, Value], seed: int, large: bool) -> Indices:
    """Return the indices, sorted, of the images that the steps draw from, of so many variants of images.

    `large` says whether the tower is. All experts share them, so that the pretrained model looks at no others.
    """
    return some(variants, pool_size(variants, settings, large), seed)


def pool_size(variants: int, settings: Mapping[str, Value], large: bool) -> int:
    """Return how many images `pool` does."""
    few = POOL if large and settings["parameters"] == "last-blocks" else variants
    return min(variants, int(settings["pool"]) or few)


def trained_passes(images: int, settings: Mapping[str, Value], architecture: Architecture) -> int:
    """Return how many images the steps of one run train on, given so many variants of images.

    Counted as passes through the whole tower: where only the last blocks are trained, an image costs their share.
    """
    passes = int(settings["steps"]) * min(int(settings["batch"]), images)
    if settings["parameters"] != "last-blocks" or not architecture.depth:
        return passes
    return round(passes * min(1.0, int(settings["blocks"]) / architecture.depth))


def cost(images: int, experts: int, settings: Mapping[str, Value], architecture: Architecture) -> tuple[int, int]:
    """Return how many images a run trains on, and how many its teachers look at, given a source of so many images.

    Both count passes through the whole tower; see `trained_passes`.
    """
    images = pool_size(images * int(settings["views"]), settings, architecture.large)
    batch = min(int(settings["batch"]), images)
    different, again = (min(images, int(settings[stage]) * batch) for stage in ("steps", "together"))
    looked = min(images, experts * different) + experts * (different + again)
    trained = experts * trained_passes(images, settings, architecture)
    return trained + trained_passes(images, {**settings, "steps": settings["together"]}, architecture), looked


@dataclass(frozen=True)
class _Order:
    """What decides a run, in plain data: another process prepares the same from it."""

    auxiliary: str
    images: int | None
    tasks: tuple[str, ...]
    settings: tuple[tuple[str, Value], ...]
    folder: Path
    device: str
    seed: int

    def source(self, suite: Suite) -> ImageSet:
        """Return the auxiliary images."""
        return sample(suite.auxiliary_data(self.auxiliary), self.images, self.seed)

    def prepare(self, suite: Suite, source: ImageSet) -> _Prepared:
        """Return the runs of all experts, which share one encoder."""
        settings = dict(self.settings)
        architecture = fitting_architecture(suite, self.tasks)
        heads = load_heads(suite, architecture, self.tasks)
        encoder = Encoder(architecture, self.device, batch=int(settings["batch"]))
        parameters.trained_weights(encoder, settings)
        taught = evidence.training_images(len(source), float(settings["held_out"]), self.seed)
        variants = Variants(evidence.part(source, taught), int(settings["views"]), self.seed)
        chosen = pool(len(variants), settings, self.seed, architecture.large)
        images = evidence.part(variants, chosen)
        runs = [_Run(suite, encoder, images, heads, settings, self.seed, task, self.folder) for task in self.tasks]
        rows = np.unique(np.concatenate([run.descent.rows() for run in runs]))
        reached = taught[np.unique(chosen[rows] % len(taught))]
        held = evidence.held_out(len(source), reached, settings, self.seed)
        return _Prepared(runs, rows, Subset(source, held))


@dataclass(frozen=True)
class _Prepared:
    """The runs of all experts; the indices of the images that they train on; the images held out."""

    runs: list[_Run]
    rows: Indices
    held: ImageSet

    def decoded(self) -> _Prepared:
        """Return the same with the images in memory, where they fit."""
        images = in_memory(self.runs[0].images, self.runs[0].encoder.image_size, room())
        return replace(self, runs=[replace(run, images=images) for run in self.runs])

    def aside(self) -> tuple[ImageSet, Rows] | None:
        """Return the images held out, decoded, with f(x; θ₀) of them; None where there are none."""
        return self.runs[0].aside(self.held) if len(self.held) else None


@dataclass(frozen=True)
class _Run:
    """The adaptation of one expert."""

    suite: Suite
    encoder: Encoder
    images: ImageSet
    heads: Mapping[str, Head]
    settings: Mapping[str, Value]
    seed: int
    task: str
    folder: Path

    @property
    def descent(self) -> Descent:
        """The steps to take."""
        state = plan.state_path(self.folder, self.task)
        return Descent(self.encoder, len(self.images), self.settings, order_seed(self.seed, self.task), state)

    def pretrained(self, rows: Indices) -> Rows:
        """Return f(x; θ₀) of the images at `rows`."""
        weights, source = vision_tower(self.suite.pretrained), str(self.suite.pretrained.path)
        return Rows(rows, self.encoder.features(weights, self.images, rows, source=source))

    def aside(self, images: ImageSet) -> tuple[ImageSet, Rows]:
        """Return held-out images, decoded, with f(x; θ₀) of them."""
        decoded = in_memory(images, self.encoder.image_size, room())
        return decoded, replace(self, images=decoded).pretrained(np.arange(len(images)))

    def carry_out(
        self,
        pretrained: Rows,
        aside: tuple[ImageSet, Rows] | None,
        counter: Counter,
        report: Callable[[Losses], None],
    ) -> None:
        """Train from θ_t, or from the last saved state, and write the adapted expert."""
        output, descent = plan.expert_path(self.folder, self.task), self.descent
        if not plan.is_finished(output):
            watch = self._watch(*aside) if aside is not None else None

            def after(step: int, parts: tuple[float, ...]) -> None:
                keep, free, total = parts
                report(Losses(self.task, step, keep, free, total, tuple(watch.looks) if watch is not None else ()))
                counter.within(step)

            history = self._train(descent, pretrained, after, watch)
            self.suite.files.check()
            write_text(plan.history_path(self.folder, self.task), to_json(history))
            if watch is not None:
                write_text(plan.looks_path(self.folder, self.task), to_json(watch.looks))
            with plan.sealing(output):
                self._write(output)
        clear(self._scratch)
        plan.state_path(self.folder, self.task).unlink(missing_ok=True)
        counter.advance(int(self.settings["steps"]))

    def trial(self) -> tuple[list[float], float]:
        """Take the run's first steps, with small batches, and keep nothing: see `precision.decide`."""
        batch = min(precision.BATCH, int(self.settings["batch"]), len(self.images))
        settings, found = {**self.settings, "batch": batch}, list[tuple[float, float]]()
        descent = replace(self.descent, images=batch, settings=settings, state=None, only=precision.STEPS)

        def after(step: int, parts: tuple[float, ...]) -> None:
            found.append((parts[-1], time.perf_counter()))

        self._train(descent, self.pretrained(descent.rows()), after)
        losses, moments = zip(*found, strict=True)
        return list(losses), min(np.diff(moments)) + precision.look(self.encoder, self.images, batch)

    def _train(
        self,
        descent: Descent,
        pretrained: Rows,
        after: Callable[[int, tuple[float, ...]], None],
        watch: Watch | None = None,
    ) -> list[list[float]]:
        (start, expert), device = self._begin(self.images, descent.rows()), self.encoder.device
        objective = self._objective(str(self.settings["distance"]))

        def loss(adapted: torch.Tensor, rows: Indices) -> Terms:
            return objective(adapted, expert.at(rows).to(device), pretrained.at(rows).to(device))

        return descent.run(start, loss, after, watch)

    def _watch(self, images: ImageSet, pretrained: Rows) -> Watch:
        """Return what looks at held-out images, through the same part of the tower as training."""
        start, expert = self._begin(images, pretrained.rows)
        objectives = self._objective(str(self.settings["distance"])), self._objective("kl")
        return Watch(start, pretrained.rows, objectives, expert, pretrained, self.settings, self.encoder.batch)

    def _begin(self, images: ImageSet, rows: Indices) -> tuple[Start, Rows]:
        vectors = self.suite.task_vectors(ORIGINAL, (self.task,))
        weights = {name: vectors.expert(name, self.task) for name in vectors.names}
        source = str(self.suite.expert(self.task).path)
        return begin(self.encoder, weights, images, rows, self.settings, self._scratch, source)

    def _objective(self, distance: str) -> Objective:
        alpha = free_weights(self.settings, self.suite.tasks)[self.task]
        return Objective(self.heads, self.task, alpha, self.encoder.device, distance)

    def _write(self, output: Path) -> None:
        """Write the adapted expert; what was not trained is written as the original file has it."""
        original = self.suite.tower(self.suite.expert(self.task)).tensors
        layout = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in outlines(original).items()}
        trained = {PREFIX + name for name in parameters.trained_weights(self.encoder, self.settings)}
        state = self.encoder.state()
        tensors = ((key, state[key] if key in trained else tensor) for key, tensor in original.items())
        write_safetensors(output, layout, tensors, {"task": self.task, "method": "RI"})

    @property
    def _scratch(self) -> Path:
        return self.folder / f"{self.task}-scratch"


# --- several at once ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """What a worker process needs to know, in plain data."""

    suite: str
    order: _Order
    number_format: str
    jobs: int
    width: int  # of a feature

    @property
    def features(self) -> Path:
        """Where f(x; θ₀) of the images lies, which the first process computes for all."""
        return self.order.folder / "pretrained.features"


def _side_by_side(work: _Work, pretrained: Rows, counter: Counter, report: Callable[[Losses], None]) -> None:
    """Adapt the experts in worker processes."""
    values, steps = pretrained.values, dict.fromkeys(work.order.tasks, 0)

    def hear(said: Losses | str) -> None:
        if isinstance(said, str):
            steps[said] = int(dict(work.order.settings)["steps"])
        else:
            steps[said.task] = said.step
            report(said)
        counter.within(sum(steps.values()))

    tensor_in_file(work.features, values.shape, values.dtype).copy_(values)
    try:
        side_by_side(work.jobs, partial(_adapt, work), work.order.tasks, hear, counter.alive)
    finally:
        work.features.unlink(missing_ok=True)


def _adapt(work: _Work, task: str, tell: Tell) -> None:
    """Adapt one expert, in a worker process."""
    prepared, pretrained, aside = _prepared(work)
    run = next(run for run in prepared.runs if run.task == task)
    with within_memory(run.encoder.device):
        run.carry_out(pretrained, aside, Counter(None, 1), tell)
    tell(task)


@lru_cache(maxsize=1)
def _prepared(work: _Work) -> tuple[_Prepared, Rows, tuple[ImageSet, Rows] | None]:
    """Return what all experts of a worker share."""
    torch.set_num_threads(threads_each(work.jobs))
    suite, order = open_suite(work.suite), work.order
    if order.device == "cuda":
        order = replace(order, device=f"cuda:{worker_number() % torch.cuda.device_count()}")
    prepared = order.prepare(suite, order.source(suite)).decoded()
    precision.compute_in(work.number_format, prepared.runs[0].encoder)
    features = tensor_in_file(work.features, (len(prepared.rows), work.width), torch.float32)
    return prepared, Rows(prepared.rows, features), prepared.aside()
