"""An opened suite, and all that can be asked of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ri_analysis.analyses.report import USUAL, chosen
from ri_analysis.api.progress import Progress
from ri_analysis.api.results import Interference, Measured, Merged, Resolved, Studied
from ri_analysis.api.studying import PlannedStudy
from ri_analysis.documents import own_path
from ri_analysis.encoder import load_heads
from ri_analysis.engine import Evaluator, default_workspace
from ri_analysis.engine.merge_probe import MergeProbe
from ri_analysis.engine.own_tasks import expert_remarks
from ri_analysis.engine.remarks import file_remarks, suite_remarks
from ri_analysis.engine.sections import TEST, VALIDATION, usual_source
from ri_analysis.errors import InputError
from ri_analysis.export.facts import gain_in_words, look_in_words
from ri_analysis.export.models import HUGGING_FACE, TOWER, check_layout, loading, merged_into
from ri_analysis.files import check_target
from ri_analysis.hyperparameters import Hyperparameter, listed, suggest
from ri_analysis.merging import MergeRecipe, find_method, merge_to_file
from ri_analysis.merging.method import AUXILIARY_IMAGES, TASK_DATA
from ri_analysis.plugins import installed, load, named
from ri_analysis.progress import Parts
from ri_analysis.resolving import HYPERPARAMETERS, Losses, default_settings, find_preset, plan, resolve
from ri_analysis.resolving.record import read_record
from ri_analysis.sides import Sides
from ri_analysis.studies import find_study
from ri_analysis.studies.study import Study
from ri_analysis.suite import ORIGINAL
from ri_analysis.suite import open_suite as read_suite
from ri_analysis.suite.suite import RECORD

DEFAULT_METHOD = "task-arithmetic"
_OF_A_RECIPE = ("experts", "tasks", "coefficients", "lines", "seed")


class Remark(UserWarning):
    """Something to know about a suite's files before its numbers are trusted."""


def _warn(remark: str) -> None:
    warnings.warn(remark, Remark, stacklevel=2)


@dataclass(frozen=True)
class Voice:
    """How a suite speaks to whoever asks: a remark on its files, and progress, see `Progress`."""

    remark: Callable[[str], None] = _warn
    lines: bool = False


def open_suite(
    suite: str | Path = "demo",
    *,
    workspace: str | Path | None = None,
    device: str = "auto",
    float32: bool = False,
    fresh: bool = False,
    plugins: str | Path | Sequence[str | Path] = (),
    voice: Voice | None = None,
) -> OpenedSuite:
    """Open a suite: an embedded one by name, or a suite file or its folder by path.

    Parameters
    ----------
    workspace: folder of stored answers and expert sets, by default the one in your data directory.
    device: "auto", "cpu", "cuda" …
    float32: measure in float32 also where bfloat16 is faster and agrees with it.
    fresh: measure here, without the answers that come with the suite.
    plugins: files with methods, analyses and studies to load besides installed ones; a changed file is loaded again.
    voice: where remarks and progress go; by default warnings, and a bar in a terminal or a notebook.

    Raises InputError for what is no suite.
    """
    voice = voice or Voice()
    files = [plugins] if isinstance(plugins, str | Path) else plugins
    load([*named(), *map(str, files), *installed()], voice.remark)
    folder = default_workspace() if workspace is None else own_path(workspace)
    number_format = torch.float32 if float32 else None
    opened = read_suite(str(suite), folder)
    evaluator = Evaluator(opened, folder, device, number_format=number_format, fresh=fresh)
    return OpenedSuite(evaluator, str(suite), device, voice)


class OpenedSuite:
    """One pretrained model with its experts, and what they make when they are merged.

    Every method does what the command of that name does, with the same numbers, saved in the same workspace.
    `evaluator` is the engine behind it. Methods that take long have `progress`: False keeps them quiet.
    """

    def __init__(self, evaluator: Evaluator, suite: str, device: str, voice: Voice) -> None:
        self.evaluator, self._named, self._device, self._voice = evaluator, suite, device, voice
        self._said: set[str] = set()

    def __repr__(self) -> str:
        suite = self.evaluator.suite
        return f"suite {suite.name}: experts {', '.join(suite.tasks)}; expert sets {', '.join(suite.expert_sets)}"

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.evaluator.suite.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, each with an expert."""
        return self.evaluator.suite.tasks

    @property
    def expert_sets(self) -> tuple[str, ...]:
        """The names of all expert sets, `original` first; those after it were adapted by RI."""
        return self.evaluator.suite.expert_sets

    # --- one merge ----------------------------------------------------------------------------------------

    def recipe(
        self,
        method: str | MergeRecipe = DEFAULT_METHOD,
        /,
        *,
        experts: str = ORIGINAL,
        tasks: str | Sequence[str] | None = None,
        coefficients: Mapping[str, float] | None = None,
        lines: Sequence[float] | None = None,
        seed: int = 0,
        **hyperparameters: object,
    ) -> MergeRecipe:
        """Return what to merge and how, with every default filled in.

        Parameters
        ----------
        method: name of a method, see `all_methods()`; or a recipe, to which nothing can be added.
        experts: the expert set, "original", "ri" for the default adapted one, or a set's name.
        tasks: the tasks to merge, all by default.
        coefficients: factor of single task vectors, by task.
        lines: LiNeS' α and β, which scale the blocks.
        seed: of methods that draw at random.
        hyperparameters: the method's own, such as `scale=0.5`.

        Raises InputError for a name that there is not, or a value out of range.
        """
        if isinstance(method, MergeRecipe):
            if hyperparameters or (experts, tasks, coefficients, lines, seed) != (ORIGINAL, None, None, None, 0):
                raise InputError(
                    f"{method.method}: expected a recipe alone or a method's name with settings, found both"
                )
            return method
        _check_names(method, find_method(method).hyperparameters, hyperparameters, _OF_A_RECIPE)
        return self.evaluator.recipe(
            method,
            hyperparameters,
            experts=experts,
            tasks=_names(tasks),
            coefficients={
                task: _number(value, f"coefficient of {task}") for task, value in (coefficients or {}).items()
            },
            lines=None if lines is None else _lines(lines),
            seed=_whole(seed, "seed", 0),
        )

    def measure(
        self,
        method: str | MergeRecipe = DEFAULT_METHOD,
        /,
        *,
        split: str = TEST,
        limit: int | None = None,
        progress: bool = True,
        **recipe: Any,
    ) -> Measured:
        """Merge and measure accuracy and interference on every merged task.

        `split` is "test" or "validation"; `limit` measures a fixed sample of at most that many images a task. Other
        keywords are those of `recipe`: `experts`, `tasks`, `coefficients`, `lines`, `seed`, and the method's own.
        """
        wanted = self.recipe(method, **recipe)
        self.note_files(wanted.tasks, [wanted.experts], _split(split))
        with self.progress("measuring", quiet=not progress) as show:
            evaluation = self.evaluator.measure(wanted, split=split, limit=_limit(limit), progress=show)
        self.note(expert_remarks(self.evaluator.suite, evaluation))
        return Measured(evaluation)

    def measure_file(
        self,
        path: str | Path,
        *,
        tower: str | None = None,
        split: str = TEST,
        limit: int | None = None,
        progress: bool = True,
    ) -> Measured:
        """Measure somebody else's merged checkpoint on every task; `tower` says which of several vision towers."""
        evaluator, path = self.evaluator, Path(path)
        self.note(file_remarks(evaluator.suite, path, tower))
        self.note_files(evaluator.suite.tasks, (), _split(split))
        with self.progress("measuring", quiet=not progress) as show:
            evaluation = evaluator.measure_file(path, tower=tower, split=split, limit=_limit(limit), progress=show)
        self.note(expert_remarks(evaluator.suite, evaluation))
        return Measured(evaluation)

    def interference(
        self,
        method: str | MergeRecipe = DEFAULT_METHOD,
        /,
        *,
        after: str | None = None,
        only: str | Sequence[str] = (),
        options: Mapping[str, object] | None = None,
        limit: int | None = None,
        blame: bool = False,
        progress: bool = True,
        **recipe: Any,
    ) -> Interference:
        """Analyse a merge: where it drifts from the experts, and which expert causes it.

        Parameters
        ----------
        after: also merge this expert set ("ri", or its name) in the same way, and compare.
        only: analyses instead of the usual ones, see `all_analyses()`.
        options: of analyses: `{"distance": "l1"}` where one is asked for, `{"drift.distance": "l1"}` among several.
        limit: measure on at most so many images a task.
        blame: also compute which expert causes the drift.
        recipe: as for `measure`.
        """
        evaluator, names = self.evaluator, _names(only) or ()
        wanted = chosen(names, blame=blame)
        given = options_by_analysis(options or {}, [analysis.name for analysis in wanted])
        before = self.recipe(method, **recipe)
        recipes = Sides(before, None if after is None else before.with_experts(evaluator.suite.expert_set(after)))
        self.note_files(before.tasks, [each.experts for each in recipes])
        answers = {}
        with self.progress("measuring", quiet=not progress) as show:
            parts = Parts(show, len(wanted))
            for place, analysis in enumerate(wanted):
                why = analysis.refusal(evaluator, before) if not names and analysis.name in USUAL else ""
                most = analysis.limit if limit is None else _limit(limit)
                own = given.get(analysis.name)
                answers[analysis.name] = why or analysis.ask(evaluator, recipes, own, most, parts.part(place))
        return Interference(evaluator, recipes, answers, whole=bool(names) or after is not None)

    def merge(
        self,
        method: str | MergeRecipe = DEFAULT_METHOD,
        /,
        *,
        out: str | Path,
        layout: str = TOWER,
        progress: bool = True,
        **recipe: Any,
    ) -> Merged:
        """Merge into a file or folder; other keywords are those of `recipe`.

        `layout` is "tower", the vision tower alone, "open-clip", a whole CLIP, or "hugging-face", a folder for
        transformers; see `export.models`.
        """
        evaluator, suite, path = self.evaluator, self.evaluator.suite, Path(out)
        wanted = self.recipe(method, **recipe)
        check_layout(layout, evaluator, path)
        if layout != HUGGING_FACE:  # which is a new folder
            self.check_output(path)
        load_heads(suite, evaluator.architecture, wanted.tasks)  # whose numbers would be refused is not merged either
        needs, store = find_method(wanted.method).needs, evaluator.store
        splits = [VALIDATION] if needs == TASK_DATA else []
        auxiliary = [usual_source(suite)] if needs == AUXILIARY_IMAGES else []
        sets = [wanted.experts]
        self.note(suite_remarks(suite, wanted.tasks, sets, splits=splits, auxiliary=auxiliary, store=store))
        with (
            self.progress("learning from images", quiet=not progress) as learn,
            self.progress("merging", "tensors", quiet=not progress) as show,
            merged_into(path, layout, evaluator, wanted, self._named) as tower,
        ):
            merge_to_file(
                suite.task_vectors(wanted.experts, wanted.tasks),
                wanted,
                tower,
                ingredients=evaluator.ingredients(wanted),
                statistics=evaluator.statistics(wanted, learn),
                metadata={"suite": suite.name},
                progress=show,
            )
        return Merged(path, wanted, loading(path, layout, evaluator))

    # --- RI and studies -----------------------------------------------------------------------------------

    def resolve(
        self,
        auxiliary: str,
        name: str,
        /,
        *,
        preset: str | None = None,
        tasks: str | Sequence[str] | None = None,
        out: str | Path | None = None,
        resume: bool = False,
        jobs: int = 1,
        seed: int = 0,
        probe: str | None = None,
        progress: bool = True,
        **settings: object,
    ) -> Resolved:
        """Adapt the experts by Resolving Interference; the new expert set is there for merges under its name.

        Parameters
        ----------
        auxiliary: an auxiliary source of the suite: unlabelled images, all that RI sees.
        name: of the new expert set.
        preset: settings to start from, by default those of the suite's own RI set: "quick", "paper", "small" …
        tasks: experts that will be merged, all by default.
        out: folder of the set, by default in the workspace.
        resume: go on where a stopped run was.
        jobs: how many experts are adapted at once, each in a process of its own.
        probe: a merging method: after each expert, what this merge gains on a few validation images.
        settings: the settings of RI, such as `steps=120`.
        """
        evaluator, suite = self.evaluator, self.evaluator.suite
        _check_names(
            "resolve", HYPERPARAMETERS, settings, ("preset", "tasks", "out", "resume", "jobs", "seed", "probe")
        )
        given = {**({} if preset is None else find_preset(preset).settings(self.evaluator.architecture)), **settings}
        directory = None if out is None else Path(out)
        if directory is not None:
            check_target(directory / RECORD)
        adapted = self.note_run(auxiliary, tasks)
        distance = str(given.get("distance", default_settings(suite)["distance"]))
        place, said = plan.folder_of(suite, name, directory), dict.fromkeys(adapted, 0)
        probing = MergeProbe(evaluator, place, adapted, probe) if probe else None
        with self.progress("resolving", "steps", quiet=not progress) as show:

            def try_merge() -> None:
                if probing is not None and (gain := probing.after()) is not None:
                    show.say(gain_in_words(gain, str(probe)))

            def report(now: Losses) -> None:
                show.note(f"{now.task} step {now.step} loss {now.loss:.4f}")
                for look in now.held_out[said[now.task] :]:
                    show.say(look_in_words(now.task, look, now.held_out[0], distance))
                said[now.task] = len(now.held_out)
                try_merge()

            folder = resolve(
                suite,
                auxiliary=auxiliary,
                name=name,
                settings=given,
                tasks=_names(tasks),
                directory=directory,
                device=evaluator.device,
                seed=_whole(seed, "seed", 0),
                resume=resume,
                jobs=_whole(jobs, "jobs", 1),
                progress=show,
                report=report,
            )
            try_merge()
        record = read_record(folder / RECORD)
        return Resolved(name, folder, record, suite.tasks, () if probing is None else tuple(probing.gains))

    def note_run(self, auxiliary: str, tasks: str | Sequence[str] | None = None) -> tuple[str, ...]:
        """Remark on the files that an RI run uses; return the tasks whose experts it adapts."""
        suite, adapted = self.evaluator.suite, _names(tasks) or self.tasks
        heads = load_heads(suite, self.evaluator.architecture, adapted)
        self.note(suite_remarks(suite, adapted, [ORIGINAL], heads=heads, splits=(), auxiliary=(auxiliary,)))
        return adapted

    def study(
        self, name: str, /, *, jobs: int = 1, scheduler: str | None = None, progress: bool = True, **settings: object
    ) -> Studied:
        """Run a study, a question that takes many merges; what is measured is saved, so that it can be stopped.

        `name` is one of `all_studies()` and `settings` are its own, several values as a list; `jobs` is the number of
        processes on this machine, `scheduler` the address of a Dask scheduler whose workers do the work.
        """
        study = find_study(name)
        _check_names(name, study.settings, settings, ("jobs", "scheduler", "progress"))
        given = {
            key: ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            for key, value in settings.items()
        }
        planned = self.plan_study(study, given, progress=progress)
        return planned.conduct(jobs=_whole(jobs, "jobs", 1), scheduler=scheduler, progress=progress)

    def plan_study(self, study: Study, given: Mapping[str, object], *, progress: bool = True) -> PlannedStudy:
        """Return a study with all its settings, and what of it is known."""
        suite = self.evaluator.suite
        settings = study.complete(suite, given)
        self.note_files(suite.tasks, [name for name in [suite.default_resolved] if name])
        with self.progress("trying bfloat16", quiet=not progress) as trying:
            self.evaluator.choose_number_format(trying)
        return PlannedStudy(self, self._named, self._device, study, settings)

    # --- what is said meanwhile ---------------------------------------------------------------------------

    def progress(self, what: str, unit: str = "images", *, quiet: bool = False) -> Progress:
        """Return what shows how far some work is, in this suite's voice."""
        return Progress(what, unit, lines=self._voice.lines, quiet=quiet)

    def note(self, remarks: Iterable[str]) -> None:
        """Make remarks, each once."""
        for remark in remarks:
            if remark not in self._said:
                self._said.add(remark)
                self._voice.remark(remark)

    def note_files(self, tasks: Sequence[str], experts: Sequence[str], split: str = TEST) -> None:
        """Remark on the files that a measurement uses."""
        evaluator, sets = self.evaluator, (ORIGINAL, *experts)  # interference is always from the original experts
        heads, store = evaluator.heads, evaluator.store
        self.note(suite_remarks(evaluator.suite, tasks, sets, heads=heads, splits=(split,), store=store))

    def check_output(self, path: Path) -> None:
        """Raise InputError where a file can't be written, or is one that the suite reads: before any long work."""
        check_target(path)
        if (read := self.evaluator.suite.reads(path)) is not None:
            raise InputError(f"{path}: expected a new file, found one that the suite reads ({read})")


def options_by_analysis(given: Mapping[str, object], names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the options of each analysis: `analysis.option` is one analysis's, `option` that of the only one."""
    found: dict[str, dict[str, object]] = {}
    for key, value in given.items():
        owner, dot, name = key.rpartition(".")
        if not dot and len(names) != 1:
            raise InputError(f"option {key}: expected NAME.{key}=VALUE, with NAME one of {', '.join(names)}")
        if dot and owner not in names:
            raise InputError(f"option {key}: expected one of the requested analyses, found {owner!r}")
        found.setdefault(owner or names[0], {})[name] = value
    return found


# --- arguments --------------------------------------------------------------------------------------------


def _check_names(owner: str, declared: Sequence[Hyperparameter], given: Collection[str], others: Sequence[str]) -> None:
    """Raise InputError for a keyword that is neither declared nor one of the `others`, of which it may be a slip."""
    known = [item.name for item in declared]
    for name in given:
        if name not in known:
            raise InputError(f"{owner}: unknown keyword {name!r}; {suggest(name, [*known, *others])}")


def _names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names, which may be one text with commas, as on the command line."""
    return None if given is None else tuple(listed(given) if isinstance(given, str) else given)


def _number(value: object, what: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what}: expected a finite number, found {value!r}")
    return number


def _lines(given: str | Sequence[float]) -> tuple[float, float]:
    if isinstance(given, str) or len(given) != 2:
        raise InputError(f"lines: expected LiNeS' α and β, found {given!r}")
    return _number(given[0], "lines, α"), _number(given[1], "lines, β")


def _whole(value: object, what: str, least: int) -> int:
    number = _number(value, what)
    if number != int(number) or number < least:
        raise InputError(f"{what}: expected a whole number of at least {least}, found {value!r}")
    return int(number)


def _limit(value: int | None) -> int | None:
    return None if value is None else _whole(value, "limit", 1)


def _split(value: str) -> str:
    if value not in (TEST, VALIDATION):
        raise InputError(f"split: expected {TEST} or {VALIDATION}, found {value!r}")
    return value
