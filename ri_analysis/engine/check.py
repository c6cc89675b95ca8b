"""Everything that is wrong with a suite, all of it at once, and what each of its files is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
import torch

from ri_analysis.checkpoints import Checkpoint, Tower, outlines, read_tower
from ri_analysis.encoder import Architecture, HeadLoader, architecture_of, check_fit, pick_device
from ri_analysis.encoder.activation import require_activation, require_tags_activation
from ri_analysis.engine.evaluator import Evaluator
from ri_analysis.engine.gram import task_vector_gram
from ri_analysis.engine.own_tasks import expert_remarks, try_experts
from ri_analysis.engine.remarks import head_remarks, tower_remarks
from ri_analysis.engine.shipped import FILE
from ri_analysis.engine.store import Store, default_workspace
from ri_analysis.engine.wrong_weights import weight_remarks
from ri_analysis.errors import ChangedFile, InputError
from ri_analysis.progress import Counter, Progress
from ri_analysis.resolving import record_of
from ri_analysis.stamps import Watch
from ri_analysis.suite import ORIGINAL, ImageSet, Instead, NotASuite, Suite
from ri_analysis.suite.spec import parse_spec
from ri_analysis.suite.suite import RECORD, suite_path
from ri_analysis.task_vectors import TaskVectors

_AGAIN = "fetch or make the file again"
_LATER = "check again when nothing is writing to it"

# So many other steps take as long as reading all values of an expert set, and as trying the experts on some images.
_READING, _LOOKING = 20, 40


@dataclass(frozen=True)
class Finding:
    """What makes a suite, or a part of it, unusable: the part, what is wrong with it, and what to do."""

    about: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@dataclass(frozen=True)
class FileAccount:
    """What one file of weights is and how it was read.

    `model` is "pretrained" or a task, `experts` the expert set (empty for the pretrained model), `kind` the format in
    words; `taken` tensors were used, `ignored` not, `filled` are canonical names that the pretrained model lent;
    `parameters` counts the file's values, `dtype` names their types, `size` its bytes.
    """

    model: str
    experts: str
    path: Path
    kind: str
    taken: int
    ignored: tuple[str, ...]
    filled: tuple[str, ...]
    parameters: int
    dtype: str
    size: int


@dataclass
class Report:
    """What a check found.

    `findings` make the suite unusable or a part of it, `remarks` are worth knowing before its numbers are trusted,
    `passed` names the checks that passed, and `files` what each readable file of weights is; `instead` says what lies
    where there is no suite file.
    """

    findings: list[Finding] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    files: list[FileAccount] = field(default_factory=list)
    instead: Instead | None = None

    def note(self, finding: Finding) -> None:
        """Add a finding once: one cause can show in several places."""
        if finding.problem not in {known.problem for known in self.findings}:
            self.findings.append(finding)

    def file_table(self) -> pd.DataFrame:
        """Return one row per file with FileAccount's fields, lists of tensors as their counts."""
        table = pd.DataFrame([vars(item) for item in self.files], columns=list(FileAccount.__dataclass_fields__))
        counts = {name: table[name].map(len) for name in ("ignored", "filled")}
        return table.assign(path=table["path"].astype(str), **counts)


def check_suite(
    suite: str,
    workspace: Path | None = None,
    progress: Progress | None = None,
    device: str = "auto",
    files: Watch | None = None,
    note: Callable[[str], None] | None = None,
    text: str | None = None,
) -> Report:
    """Check a suite file and every file it names: weights, heads, images, expert sets.

    All weights are read once, and where nothing is wrong, each expert looks at some images of its task on `device`;
    `workspace` (the user's data directory by default) keeps what need not be looked at again, and may hold more expert
    sets; `files` watches the files read. `progress` may raise Cancelled; `note` is told what is looked at. `text` is
    that of a suite file that is yet to be written, to `suite`. Raises InputError for a workspace that can't be written,
    or a device that is not there.
    """
    pick_device(device)
    files = files or Watch()
    try:
        with files.noting():
            spec, problems = parse_spec(suite_path(suite) if text is None else Path(suite), text)
    except NotASuite as error:
        return Report([Finding("suite file", error.problem, error.instead.remedy)], instead=error.instead)
    except InputError as error:
        return Report(
            [Finding("suite file", str(error), "give the path of a suite file, or the name of an embedded suite")]
        )
    if spec is None:
        return Report([Finding("suite file", problem, "correct the suite file") for problem in problems])
    folder = workspace or default_workspace()
    store = Store(folder, files.check, shipped=spec.path.parent / FILE)
    return _Check(Suite(spec, folder, files), store, device).run(progress, note)


@dataclass(frozen=True)
class _Step:
    """One step of the check: what it looks at, the work, which says what passed, and what to do about an error.

    `size` is how long it takes, in steps of the quick kind; `others` what to do about errors that name another file.
    """

    about: str
    work: Callable[[Progress], str]
    remedy: str
    size: int = 1
    others: Mapping[Path, str] = field(default_factory=dict)

    def remedy_of(self, error: InputError) -> str:
        """Return what to do about an error."""
        if isinstance(error, ChangedFile):
            return _LATER
        # Of the path alone, or of a file below it: `Reds.txt` is not in the folder `Reds`.
        named = (
            remedy for path, remedy in self.others.items() if str(error).startswith((f"{path}:", f"{path}{os.sep}"))
        )
        return next(named, self.remedy)


class _Check:
    def __init__(self, suite: Suite, store: Store, device: str) -> None:
        self.suite, self.store, self.device = suite, store, device
        self.report = Report()
        self.sound: dict[str, list[str]] = {experts: [] for experts in suite.expert_sets}

    def run(self, progress: Progress | None, note: Callable[[str], None] | None) -> Report:
        steps = self.steps()
        counter = Counter(progress, sum(step.size for step in steps))
        for step in steps:
            if note is not None:
                note(step.about)
            counter.alive()
            self.attempt(step, partial(_share_of, counter, step.size))
            counter.advance(step.size)
        return self.report

    def attempt(self, step: _Step, progress: Progress) -> None:
        """Do one step; note its error, or what passed."""
        try:
            text = step.work(progress)
            if text:
                self.report.passed.append(f"{step.about}: {text}")
        except InputError as error:
            self.report.note(Finding(step.about, str(error), step.remedy_of(error)))

    def steps(self) -> list[_Step]:
        """Return all steps, weights first."""
        suite, found = self.suite, []
        origin = "in [model], set 'pretrained' to the model that all experts started from"
        found.append(_Step("pretrained", lambda _: self.pretrained(), origin))
        for experts in suite.expert_sets:
            for task in self.made_for(experts):
                found.append(
                    _Step(
                        f"expert {task} ({experts})", partial(self.expert, task, experts), _expert_remedy(task, experts)
                    )
                )
            if experts != ORIGINAL:
                remedy = f"correct its {RECORD}, or delete that file: how the set was made is then unknown"
                found.append(_Step(f"record ({experts})", partial(self.record, experts), remedy))
            found.append(_Step(f"weights ({experts})", partial(self.weights, experts), _AGAIN, _READING))
        for task, spec in zip(suite.tasks, suite.spec.tasks, strict=True):
            where = f"[[task]] {task!r}"
            head = f"in {where}, set 'head', or 'classes' with 'templates', to the same classes as the data"
            data = f"in {where}, correct 'data' or 'validation'"
            # The labels of images are matched with the head's classes: either step meets with errors of both.
            of_head = dict.fromkeys(filter(None, (spec.head, spec.classes)), head)
            of_data = dict.fromkeys(filter(None, (spec.data, spec.validation)), data)
            found.append(_Step(f"head {task}", partial(self.head, task), head, others=of_data))
            found.append(_Step(f"images {task}", partial(self.images, task), data, others=of_head))
        for source in suite.spec.auxiliary:
            read = partial(self.count, suite.auxiliary_data, source.name)
            found.append(_Step(f"auxiliary {source.name}", read, f"in [[auxiliary]] {source.name!r}, correct 'data'"))
        for domain in suite.spec.unseen:
            read = partial(self.count, suite.unseen_data, domain.name)
            found.append(_Step(f"unseen {domain.name}", read, f"in [[unseen]] {domain.name!r}, correct 'data'"))
        remedy = "give each task the expert that was fine-tuned on it"
        return [*found, _Step("experts on their own tasks", self.own_tasks, remedy, _LOOKING)]

    def made_for(self, experts: str) -> tuple[str, ...]:
        """Return the tasks that an expert set must have experts for: one that was made here may be of some only."""
        suite = self.suite
        if experts in (ORIGINAL, *(item.name for item in suite.spec.resolved)):
            return suite.tasks
        with suppress(InputError):  # the step that looks at the record says so
            return tuple(task for task in suite.tasks if task in record_of(suite, experts).get("tasks", suite.tasks))
        return suite.set_tasks(experts)

    def record(self, experts: str, _: Progress) -> str:
        record_of(self.suite, experts)
        return ""

    @cached_property
    def architecture(self) -> Architecture:
        return architecture_of(self.suite)

    @cached_property
    def heads(self) -> HeadLoader:
        return HeadLoader(self.suite, self.architecture)

    def pretrained(self) -> str:
        source, tower = self.suite.pretrained, read_tower(self.suite.pretrained)
        check_fit(self.architecture, tower.tensors, str(source.path))
        self.account("pretrained", "", source, tower)
        self.report.remarks += tower.remarks
        require_activation(str(source.path), tower, self.architecture)
        require_tags_activation(self.suite, self.architecture)
        count = sum(tensor.numel() for tensor in outlines(tower.tensors).values())
        return f"{self.suite.spec.architecture}, {tower.kind}, {count / 1e6:.2f} M parameters in the vision tower"

    def expert(self, task: str, experts: str, _progress: Progress) -> str:
        checkpoint = self.suite.expert(task, experts)
        tower = self.suite.tower(checkpoint)
        self.account(task, experts, checkpoint, tower)
        TaskVectors(self.suite.zero_shot, {task: tower.tensors}, {task: str(checkpoint.path)})
        require_activation(str(checkpoint.path), tower, self.architecture)
        self.sound[experts].append(task)
        self.report.remarks += tower_remarks(checkpoint, tower)
        return f"{checkpoint.path.name}, {tower.kind}"

    def weights(self, experts: str, progress: Progress) -> str:
        """Read every value of the experts that are sound so far; where one is not finite, go on to name all of them."""
        tasks = tuple(self.sound[experts])
        if not tasks:
            return ""
        try:
            task_vector_gram(self.suite, self.store, experts, tasks, progress)
        except InputError:
            vectors = self.suite.task_vectors(experts, tasks)
            self.attempt(_Step("pretrained", partial(_finite, vectors.pretrained, vectors.names), _AGAIN), progress)
            for task in tasks:
                read = partial(vectors.expert, task=task)
                about = f"expert {task} ({experts})"
                self.attempt(_Step(about, partial(_finite, read, vectors.names), _AGAIN), progress)
            raise  # noted already, under the name of the one that it is about
        self.report.remarks += weight_remarks(self.suite, self.store, experts, tasks)
        return f"all values of {len(tasks)} experts are finite"

    def account(self, model: str, experts: str, checkpoint: Checkpoint, tower: Tower) -> None:
        tensors = list(outlines(checkpoint.tensors).values())
        dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors if tensor.is_floating_point()})
        self.report.files.append(
            FileAccount(
                model,
                experts,
                checkpoint.path,
                tower.kind,
                tower.taken,
                tower.ignored,
                tower.filled,
                sum(tensor.numel() for tensor in tensors),
                ", ".join(dtypes),
                checkpoint.size,
            )
        )

    def head(self, task: str, _progress: Progress) -> str:
        head = self.heads.load(task)
        self.report.remarks += head_remarks(self.suite, task, head)
        return f"{len(head.classes)} classes" + ("" if head.scale is None else f", logit scale {head.scale:.4g}")

    def images(self, task: str, _progress: Progress) -> str:
        counts = []
        for split in ("test", "validation"):
            if split == "validation" and self.suite.task(task).validation is None:
                continue
            images = self.suite.task_data(task, split)
            counts.append(f"{len(images)} {split}")
            self.report.remarks += images.remarks
        return ", ".join(counts)

    def own_tasks(self, progress: Progress) -> str:
        """Let each expert and the pretrained model answer on some images, where nothing else is wrong."""
        if self.report.findings:
            return ""
        evaluator = Evaluator(self.suite, device=self.device, store=self.store)
        found = try_experts(evaluator, progress)
        remarks = expert_remarks(self.suite, found)
        self.report.remarks += remarks
        tasks = len(self.suite.tasks)
        return (
            f"{tasks - len(remarks)} of {tasks} better than guessing and not worse than zero-shot, on {found.n} images"
        )

    def count(self, read: Callable[[str], ImageSet], name: str, _progress: Progress) -> str:
        images = read(name)
        self.report.remarks += images.remarks
        return f"{len(images)} images"


def _expert_remedy(task: str, experts: str) -> str:
    if experts == ORIGINAL:
        return f"in [[task]] {task!r}, set 'expert' to a checkpoint fine-tuned from the pretrained model"
    return f"make the expert set {experts!r} again with `ri-analysis resolve`, or remove it"


def _finite(read: Callable[[str], torch.Tensor], names: Sequence[str], progress: Progress) -> str:
    for number, name in enumerate(names):
        progress(number, len(names))
        read(name)  # raises where a value is NaN or infinite
    return ""


def _share_of(counter: Counter, size: int, done: int, total: int) -> None:
    """Count what is done of a step of such a size."""
    counter.within(size * done // max(1, total))
