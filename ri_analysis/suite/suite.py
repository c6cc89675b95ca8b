"""Open a suite: files become weights, images and class names when they are first asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from ri_analysis.allowed import allow_file, require_allowed
from ri_analysis.checkpoints import Checkpoint, Tower, classifier_weight, read_checkpoint, read_tower, vision_tower
from ri_analysis.documents import place, read_object
from ri_analysis.errors import InputError
from ri_analysis.files import digest
from ri_analysis.hyperparameters import suggest
from ri_analysis.stamps import Stamp, Watch
from ri_analysis.suite.data import read_images
from ri_analysis.suite.images import GeneratedImages, ImageSet, Subset, per_class
from ri_analysis.suite.instead import NotASuite, look
from ri_analysis.suite.labels import Rows, by_rows
from ri_analysis.suite.preprocessing import Preprocessing, read_preprocessing
from ri_analysis.suite.spec import AuxiliarySpec, ResolvedSpec, SuiteSpec, TaskSpec, UnseenSpec, read_lines, read_spec
from ri_analysis.task_vectors import TaskVectors

ORIGINAL = "original"
EMBEDDED = ("demo", "demo-halves")
RECORD = "resolve.json"
STUDIES = "studies"  # sets that studies made: found by name, but no choice of "after RI"


def resource_root() -> Path:
    """Return the folder that holds `app.py`, `pages/` and `assets/`: the checkout, or the installed wheel's."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    return checkout if (checkout / "app.py").is_file() else package / "_app"


def suite_path(suite: str) -> Path:
    """Return the suite file that `suite` means: an embedded suite's name, a suite file, or its folder.

    Raises Outside for a path that may not be read, InputError for one that leads nowhere, and NotASuite for what is
    something else.
    """
    if suite in EMBEDDED:
        return resource_root() / "assets" / suite / "suite.toml"
    path = place(Path(), suite)
    require_allowed(path)
    if path.is_dir() and (path / "suite.toml").is_file():
        path /= "suite.toml"
    if not path.exists():
        embedded = ", ".join(EMBEDDED)
        near = f"; did you mean {match[0]!r}?" if (match := get_close_matches(suite, EMBEDDED, n=1)) else ""
        raise InputError(f"{suite}: expected a suite file or an embedded suite ({embedded}), found neither{near}")
    with suppress(OSError):  # what can't be read is said of the suite file
        instead = look(path)
        if instead is not None:
            raise NotASuite(suite, instead)
    return path


def open_suite(suite: str = "demo", workspace: Path | None = None, files: Watch | None = None) -> Suite:
    """Open an embedded suite by name, or a suite file by path; `workspace` adds the expert sets resolved there.

    `files` watches the files read, the suite file among them; several that open the same suite may share one.
    """
    files = files or Watch()
    with files.noting():
        return Suite(read_spec(suite_path(suite)), workspace, files)


class Suite:
    """An opened suite. Weights are read tensor by tensor, each time they are needed; images are read once
    and kept.

    `files` are all files as they were when they were first read: what is measured, merged or trained is good for
    nothing, and must not be kept, once `files.check()` finds that one of them has changed.
    """

    def __init__(self, spec: SuiteSpec, workspace: Path | None = None, files: Watch | None = None) -> None:
        self.spec, self._workspace, self.files = spec, workspace, files or Watch()
        self._checkpoint = lru_cache(maxsize=None)(self._read_checkpoint)
        self._images = lru_cache(maxsize=None)(self._read_images)
        self._labelled = lru_cache(maxsize=None)(self._read_labelled)

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.spec.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks' names, in the file's order."""
        return tuple(task.name for task in self.spec.tasks)

    def memory(self, kind: str) -> Path | None:
        """Return the workspace's folder for what takes long to make again; None without a workspace."""
        return None if self._workspace is None else self._workspace / kind

    def task(self, name: str) -> TaskSpec:
        """Return the declaration of task `name`. Raises InputError when there is none."""
        task: TaskSpec = _named("task", name, self.spec.tasks)
        return task

    def reads(self, path: Path) -> Path | None:
        """Return the file or folder of this suite that `path` is, or lies in, by whatever name; None for another."""
        if not path.exists():
            return None
        spec, place = self.spec, path.resolve()
        named = [spec.path, spec.path.parent / spec.architecture, self.pretrained.path]
        named += [file for item in self.resolved for file in item.directory.glob("*")]
        for task in spec.tasks:
            named += [item for item in (task.expert, task.head, task.classes, task.data, task.validation) if item]
        named += [item.data for item in spec.unseen] + [item.data for item in spec.auxiliary if item.data]
        named += self.files.known  # templates, and what lies beside weights
        there = (item for item in named if item.exists())
        return next((item for item in there if item.samefile(path) or item.resolve() in place.parents), None)

    # --- images -------------------------------------------------------------------------------------------

    def task_data(self, name: str, split: str = "test") -> ImageSet:
        """Return the images of a task, `split` "test" or "validation"; their labels are rows of the task's head."""
        task = self.task(name)
        path = task.data if split == "test" else task.validation
        if path is None:
            raise InputError(f"{self.spec.path}: task {name!r} has no validation images")
        return self._labelled(path, (name,), f"[[task]] {name!r}", task.labels, task.images_per_class)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How images are resized and cropped, from open_clip's config of the model."""
        with self.files.noting():
            return read_preprocessing(self.spec.architecture, self.spec.pretrained, self.spec.path.parent)

    def _read_images(self, path: Path, *, labelled: bool) -> ImageSet:
        with self.files.noting():
            return read_images(path, labelled=labelled, how=self.preprocessing, memory=self.memory("images"))

    def _read_labelled(self, path: Path, tasks: tuple[str, ...], table: str, how: str, cap: int | None) -> ImageSet:
        """Return at most `cap` images of each class at `path`; labels are the rows of the tasks' heads, joined."""
        images, rows = self._images(path, labelled=True), self._rows(tasks, path, table)
        if rows is not None:
            images = by_rows(images, rows, how)
        if cap is None or images.labels is None:
            return images
        chosen = per_class(images.labels, cap)
        return images if len(chosen) == len(images) else Subset(images, chosen)

    def _rows(self, tasks: tuple[str, ...], path: Path, table: str) -> Rows | None:
        """Return the rows that the images at `path` belong to, None where a head can't be read: that is said there."""
        heads = [self._head_rows(self.task(task), path) for task in tasks]
        known = [head for head in heads if head is not None]
        if len(known) < len(heads):
            return None
        named = all(names for _, names in known)
        names = tuple(name for _, names in known for name in names) if named else ()
        sources = [self.task(task).classes or self.task(task).data for task in tasks]
        return Rows(sum(count for count, _ in known), names, " and ".join(map(str, sources)), table)

    def _head_rows(self, task: TaskSpec, path: Path) -> tuple[int, tuple[str, ...]] | None:
        """Return how many rows a task's head has, and their class names as far as anything but `path` gives them."""
        given = self.class_names(task.name)
        names = self._images(task.data, labelled=True).classes if given is None else given
        if task.head is None:
            return (len(names), names) if names else None
        try:
            count = len(classifier_weight(self._checkpoint(task.head)))
        except InputError:
            return None
        if given is None and (len(names) != count or path == task.data):
            return count, ()
        return (count, names) if len(names) == count else None

    def unseen_data(self, name: str) -> ImageSet:
        """Return the images of an unseen domain; their labels are rows of its tasks' heads, joined."""
        domain = self.unseen(name)
        return self._labelled(domain.data, domain.tasks, f"[[unseen]] {name!r}", domain.labels, None)

    def unseen(self, name: str) -> UnseenSpec:
        """Return the declaration of the unseen domain `name`."""
        domain: UnseenSpec = _named("unseen domain", name, self.spec.unseen)
        return domain

    def auxiliary(self, name: str) -> AuxiliarySpec:
        """Return the declaration of the auxiliary source `name`."""
        source: AuxiliarySpec = _named("auxiliary source", name, self.spec.auxiliary)
        return source

    def auxiliary_data(self, name: str) -> ImageSet:
        """Return the unlabelled images of an auxiliary source."""
        item = self.auxiliary(name)
        if item.generator is not None:
            return GeneratedImages(item.generator, item.seed, item.count)
        assert item.data is not None  # the spec guarantees one of the two
        return self._images(item.data, labelled=False)

    def class_names(self, name: str) -> tuple[str, ...] | None:
        """Return a task's class names, None where the suite gives only a head file."""
        path = self.task(name).classes
        with self.files.noting():
            return None if path is None else read_lines(path)

    # --- weights ------------------------------------------------------------------------------------------

    def _read_checkpoint(self, path: Path, tower: str | None = None) -> Checkpoint:
        with self.files.noting():
            return read_checkpoint(path, self.memory("digests"), tower)

    @cached_property
    def pretrained(self) -> Checkpoint:
        """The pretrained model's checkpoint."""
        path = self.spec.pretrained_path
        if not path.exists() and not path.suffix:
            path = _pretrained_tag(self.spec.architecture, self.spec.pretrained)
        return self._checkpoint(path, tower=self.spec.tower)

    @property
    def resolved(self) -> tuple[ResolvedSpec, ...]:
        """The RI-adapted expert sets: the suite file's, then those in the workspace made from the same weights."""
        declared = self.spec.resolved
        folder = self.resolved_folder
        found = sorted(folder.glob(f"*/{RECORD}")) if folder is not None else []
        names = {item.name for item in declared}
        own = [ResolvedSpec(item.parent.name, item.parent) for item in found if self._made_here(item)]
        return (*declared, *(item for item in own if item.name not in names))

    @property
    def resolved_folder(self) -> Path | None:
        """Where expert sets resolved in this workspace are kept."""
        folder = self.memory("resolved")
        return None if folder is None else folder / self.name

    def _made_here(self, record: Path) -> bool:
        try:
            weights = read_object(record)["weights"]
            return all(self.weight_digests(ORIGINAL).get(name) == value for name, value in weights.items())
        except (InputError, KeyError, TypeError, AttributeError):
            return False

    @property
    def expert_sets(self) -> tuple[str, ...]:
        """The names of all expert sets, `original` first."""
        return (ORIGINAL, *(item.name for item in self.resolved))

    @property
    def default_resolved(self) -> str | None:
        """The expert set that `ri` means: the one marked default, else the first; None without any."""
        sets = self.resolved
        return next((item.name for item in sets if item.default), sets[0].name if sets else None)

    def expert_set(self, name: str) -> str:
        """Return the name of an expert set, `ri` resolved to the default one. Raises InputError for an unknown one."""
        if name == ORIGINAL or self._of_a_study(name) is not None:
            return name
        if name == "ri":
            if self.default_resolved is None:
                raise InputError(f"{self.spec.path}: no RI-adapted expert set yet; run `ri-analysis resolve` first")
            return self.default_resolved
        if name not in self.expert_sets:
            raise InputError(f"unknown expert set {name!r}; {suggest(name, ['ri', *self.expert_sets])}")
        return name

    def resolved_set(self, name: str) -> ResolvedSpec:
        """Return where an RI-adapted expert set lies."""
        if (made := self._of_a_study(name)) is not None:
            return made
        found: ResolvedSpec = _named("expert set", self.expert_set(name), self.resolved)
        return found

    def _of_a_study(self, name: str) -> ResolvedSpec | None:
        folder = self.resolved_folder
        made = folder is not None and name.startswith(f"{STUDIES}/") and ".." not in name.split("/")
        return ResolvedSpec(name, folder / name) if folder is not None and made else None

    def expert(self, task: str, experts: str = ORIGINAL) -> Checkpoint:
        """Return the checkpoint of one expert of an expert set."""
        name = self.expert_set(experts)
        if name == ORIGINAL:
            return self._checkpoint(self.task(task).expert, tower=self.task(task).tower)
        folder = self.resolved_set(name).directory
        found = self._checkpoint(folder / f"{self.task(task).name}.safetensors")
        if _as_made(folder / RECORD).get(task, found.digest) != found.digest:
            raise InputError(
                f"{found.path}: expected the expert that the RI run wrote (digest in {RECORD}), found another; make "
                f"the set again, or remove 'experts' from {RECORD}"
            )
        return found

    def set_tasks(self, experts: str) -> tuple[str, ...]:
        """Return the tasks an expert set has experts for."""
        name = self.expert_set(experts)
        if name == ORIGINAL:
            return self.tasks
        folder = self.resolved_set(name).directory
        return tuple(task for task in self.tasks if (folder / f"{task}.safetensors").is_file())

    def task_vectors(self, experts: str = ORIGINAL, tasks: tuple[str, ...] | None = None) -> TaskVectors:
        """Return the task vectors of an expert set, read tensor by tensor. Writers ask them to `require_unchanged`."""
        checkpoints = {task: self.expert(task, experts) for task in tasks or self.set_tasks(experts)}
        sources = {task: str(checkpoint.path) for task, checkpoint in checkpoints.items()}
        towers = {task: self.tower(checkpoint).tensors for task, checkpoint in checkpoints.items()}
        return TaskVectors(self.zero_shot, towers, {"pretrained": str(self.pretrained.path), **sources}, self.files)

    @cached_property
    def zero_shot(self) -> Mapping[str, torch.Tensor]:
        """The pretrained model's vision tower under canonical names."""
        return vision_tower(self.pretrained)

    def tower(self, checkpoint: Checkpoint) -> Tower:
        """Return the vision tower of a checkpoint; what it lacks (projection, LoRA's base) is the pretrained model's.

        Accepts the suite's own checkpoints and anybody else's. Raises InputError when it holds no vision tower.
        """
        return read_tower(checkpoint, self.zero_shot)

    def digest(self) -> str:
        """Return one name for the content of all weights, heads and test images."""
        weights = {name: self.weight_digests(name) for name in self.expert_sets}
        images = {task: self.task_data(task).digest for task in self.tasks}
        heads = {task.name: self._head_digest(task) for task in self.spec.tasks}
        return digest(json.dumps([weights, images, heads], sort_keys=True))

    def _head_digest(self, task: TaskSpec) -> str:
        """Return one name for all that a task's head is made of, besides the pretrained text tower."""
        given = None if task.head is None else self._checkpoint(task.head).digest
        return digest(json.dumps([given, task.logit_scale, self.class_names(task.name), task.templates]))

    def weight_digests(self, experts: str = ORIGINAL) -> dict[str, str]:
        """Return the content digests of an expert set's files by task, and of `pretrained`."""
        digests = {task: self.expert(task, experts).digest for task in self.set_tasks(experts)}
        return {"pretrained": self.pretrained.digest, **digests}


def _named(kind: str, name: str, rows: tuple[Any, ...]) -> Any:
    for row in rows:
        if row.name == name:
            return row
    raise InputError(f"unknown {kind} {name!r}; {suggest(name, [row.name for row in rows])}")


def _as_made(record: Path) -> Mapping[str, str]:
    """Return the digests of an RI-adapted set's experts by task; none where they were not recorded."""
    try:
        require_allowed(record)
        return _digests_of(record, Stamp.of(record))
    except (OSError, InputError):  # who needs the record meets with that
        return {}


@lru_cache(maxsize=256)
def _digests_of(record: Path, _: Stamp) -> Mapping[str, str]:
    found = read_object(record).get("experts")
    return found if isinstance(found, dict) else {}


def _pretrained_tag(architecture: str, tag: str) -> Path:
    """Return the cached file of an open_clip pretrained tag, downloading it when it is not there yet."""
    import open_clip  # slow to import, and needed for tags only

    config = open_clip.get_pretrained_cfg(architecture, tag)
    if not config:
        raise InputError(
            f"pretrained {tag!r}: expected a checkpoint file or an open_clip tag of {architecture!r}, found neither"
        )
    try:
        found = Path(open_clip.download_pretrained(config))
        allow_file(found)
        return found
    except (OSError, RuntimeError) as error:
        raise InputError(f"pretrained tag {tag!r} of {architecture!r} could not be fetched: {error}") from error
