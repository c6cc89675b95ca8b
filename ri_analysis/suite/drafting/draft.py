"""A suite file drafted from what lies in a folder: what was found, and what has to be decided by somebody who knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ri_analysis.allowed import is_hidden
from ri_analysis.errors import InputError, listing
from ri_analysis.progress import Progress
from ri_analysis.suite.drafting import names
from ri_analysis.suite.drafting.survey import Images, Survey, survey
from ri_analysis.suite.drafting.weights import Adapter, HeadFile, Model, Sizes, amid, fits, fitting, same
from ri_analysis.suite.listing import counted_as
from ri_analysis.suite.spec import read_lines

MODEL = "[model]"
_TEMPLATE = "a photo of a {}."
_LISTED = 8
_TEST_IMAGES = "write the path of test images (docs/formats.md says what is read) as 'data'"


@dataclass(frozen=True)
class Choice:
    """The value of a key: None where it is open, with `options` for it. `why` says what it is, or how it was found."""

    value: str | tuple[str, ...] | bool | None = None
    why: str = ""
    options: tuple[str, ...] = ()


Table = dict[str, Choice]  # the keys of a table of a suite file, in their order


@dataclass(frozen=True)
class Open:
    """What could not be decided, and how to decide it; `table` is MODEL, a task's name, or "" for the whole suite."""

    table: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = {"": "", MODEL: f"{MODEL}: "}.get(self.table, f"[[task]] {self.table}: ")
        return f"{where}{self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Draft:
    """A drafted suite. Each table holds its keys in order; paths are relative to `folder`.

    `unseen` are labelled images under no task's name: they may be of another domain, or not be needed. `found`
    says in lines what was found, `left_out` what of it is not used and why, and `undecided` what is open.
    """

    folder: Path
    name: str
    model: Table
    tasks: tuple[Table, ...]
    auxiliary: tuple[Table, ...]
    unseen: tuple[Table, ...]
    resolved: tuple[Table, ...]
    found: tuple[str, ...]
    left_out: tuple[str, ...]
    undecided: tuple[Open, ...]


def draft(folder: Path, progress: Progress | None = None) -> Draft:
    """Draft a suite of what lies in `folder`. Raises InputError where there are no experts; see `survey` for others."""
    return decide(survey(folder, progress))


def decide(found: Survey) -> Draft:
    """Return the draft for what was found."""
    return _Decision(found).draft()


@dataclass(frozen=True)
class _Expert:
    """An expert, or several files of which one is: the task, and what its head and data may be called, plainly."""

    task: str
    files: tuple[Path, ...]
    called: frozenset[str]

    @property
    def known(self) -> names.Known | None:
        return names.known(sorted(self.called))


class _Decision:
    def __init__(self, found: Survey) -> None:
        self.found, self.open, self.left_out = found, list[Open](), list[str]()
        self.origin_options: tuple[str, ...] = ()
        # Heads and labelled images under no task's name.
        self.stray_heads, self.strays = list[HeadFile](), list[Images]()
        self.group = self._main_group()
        self.origin, self.copies, self.origin_why = self._pretrained()
        self.experts = self._experts()
        if not self.experts:
            raise InputError(
                f"{found.folder}: expected experts, fine-tuned checkpoints of one model, found {self._what()}"
            )

    def draft(self) -> Draft:
        model = self._model()
        heads, data = self._heads(), self._images()
        tasks = tuple(
            self._task(expert, heads.get(expert.task, []), data.get(expert.task, [])) for expert in self.experts
        )
        if not self.found.images:
            self.note("", "no images were found in the folder", f"{_TEST_IMAGES} of each [[task]]")
        auxiliary = self._auxiliary(data)
        resolved = tuple(
            {"name": Choice(path.name), "directory": Choice(path.as_posix())} for path in self.found.resolved
        )
        self.left_out += [f"{path.as_posix()}: {why}" for path, why in self.found.trouble]
        self.left_out += [self._passed_over()] if self.found.passed else []
        return Draft(
            self.found.folder,
            re.sub(r"[^\w.-]+", "-", self.found.folder.resolve().name).strip("-.") or "suite",
            model,
            tasks,
            auxiliary,
            self._unseen(),
            resolved,
            tuple(self._in_words(model, tasks, auxiliary)),
            tuple(self.left_out),
            tuple(self.open),
        )

    def note(self, table: str, problem: str, remedy: str) -> None:
        self.open.append(Open(table, problem, remedy))

    # --- weights ------------------------------------------------------------------------------------------

    def _what(self) -> str:
        counts = {"vision tower": len(self.found.models), "head": len(self.found.heads)}
        there = [counted_as(count, kind) for kind, count in counts.items() if count]
        there += [f"{path.as_posix()}, which can't be used: {why}" for path, why in self.found.trouble[:3]]
        there += [f"what can't be used: {self._passed_over()}"] if self.found.passed else []
        return ", ".join(there) or "none"

    def _passed_over(self) -> str:
        return listing([f"{why} ({count:,})" for why, count in self.found.passed.most_common()], _LISTED)

    def _main_group(self) -> list[Model]:
        """Return the models of the one architecture that most are of; the others are left out, with a note."""
        own = [model for model in self.found.models if not model.ours]
        for model in self.found.models:
            if model.ours:
                self.left_out.append(f"{model.path.as_posix()}: a merge that ri-analysis wrote")
        groups: dict[tuple[int, ...], list[Model]] = {}
        for model in own:
            groups.setdefault(model.sizes.tower, []).append(model)
        if not groups:
            return []
        bases = {adapter.base for adapter in self.found.adapters}
        largest = max(groups.values(), key=lambda group: (any(names.stem(m.path) in bases for m in group), len(group)))
        for group in groups.values():
            if group is not largest:
                paths = listing([model.path.as_posix() for model in group], _LISTED)
                self.note(
                    "",
                    f"models of another architecture are left out ({group[0].sizes}): {paths}",
                    "a suite has one architecture; draft another suite from the folder of these models",
                )
        return largest

    def _pretrained(self) -> tuple[Model | None, list[Model], str]:
        """Return the model that the experts start from, all files that are it, and what shows it."""
        group = self.group
        called = [model for model in group if names.is_zero_shot(model.path)]
        called = called or [model for model in group if self._begins_the_others(model)]
        if called:
            first, *others = sorted(called, key=lambda model: (len(model.path.parts), model.path))
            if all(same(first, other) for other in others):
                return first, called, "by its name"
        if called and len(called) < len(group):  # a word in all names says nothing
            self._ask_for_origin([model.path for model in called], "several files have such a name, and they differ")
            return None, called, ""
        with_text = [model for model in group if model.has_text]
        if len(with_text) == 1 and (len(group) > 1 or self.found.adapters):
            return with_text[0], with_text, "the only one with a text tower"
        if len(group) == 1 and self.found.adapters:
            return group[0], group, "the one model beside the adapters"
        one = amid(group)
        if one is not None:
            problem = f"no name says which model is the pretrained one; {one.path} was taken"
            self.note(
                MODEL,
                f"{problem}, as its weights are closest to the others'",
                "if it is an expert, give it a [[task]] and the right file here",
            )
            return one, [one], "by its weights"
        self._ask_for_origin([model.path for model in group], "no file's name says it")
        return None, [], ""

    def _begins_the_others(self, model: Model) -> bool:
        """Whether a model is called as others' names begin, as on the hub, or as adapters name what they are of."""
        own = names.stem(model.path)
        others = [names.stem(item.path) for item in self.group if item is not model]
        begins = re.compile(re.escape(own) + r"[-_.]", re.IGNORECASE)
        based = any(adapter.base == own for adapter in self.found.adapters)
        return based or (bool(others) and all(map(begins.match, others)))

    def _ask_for_origin(self, paths: Sequence[Path], why: str) -> None:
        bases = sorted({adapter.base for adapter in self.found.adapters} - {""})
        hint = " (see 'base_model_name_or_path' in the adapters' adapter_config.json)" if bases else ""
        self.note(
            MODEL,
            f"the pretrained model, which all experts started from, is not clear: {why}{hint}",
            "write its file or folder as 'pretrained', or an open_clip tag such as \"openai\", which is downloaded",
        )
        self.origin_options = tuple(path.as_posix() for path in paths[:_LISTED])

    def _experts(self) -> list[_Expert]:
        files: dict[str, list[Path]] = {}
        copies = {id(model) for model in self.copies}
        items: Iterable[Model | Adapter] = (*(m for m in self.group if id(m) not in copies), *self.found.adapters)
        for item in sorted(items, key=lambda item: item.path):
            files.setdefault(names.whose(item.path), []).append(item.path)
        raw = list(files)
        origin = "" if self.origin is None else names.stem(self.origin.path)
        tasks = names.tasks_of(raw, origin) if raw else []
        found = []
        for task, own in zip(tasks, raw, strict=True):
            tuned = [path for path in files[own] if names.is_fully_tuned(path)]
            called = {names.plain(task), names.plain(own)}
            known = names.known(sorted(called))
            chosen = tuned or files[own]
            if len(chosen) < len(files[own]):
                left = [path.as_posix() for path in files[own] if path not in chosen]
                self.left_out.append(
                    f"{listing(left, _LISTED)}: {chosen[0].name} beside it is, by its name, the fine-tuned model"
                )
            found.append(_Expert(task, tuple(chosen), frozenset(called | (known.names if known else set()))))
        return found

    def _model(self) -> Table:
        architecture = self._architecture()
        if self.origin is None:
            return {"architecture": architecture, "pretrained": Choice(options=self.origin_options)}
        why, copies = self.origin_why, len(self.copies) - 1
        if copies:
            why += f"; {copies} more with such a name have the same weights, in the tensors compared"
        if self.origin.remark:
            self.note(MODEL, f"{self.origin.path.as_posix()}: {self.origin.remark}", "write 'tower' below 'pretrained'")
        return {"architecture": architecture, "pretrained": Choice(self.origin.path.as_posix(), why)}

    def _architecture(self) -> Choice:
        if not self.group:
            self.note(
                MODEL,
                "the adapters' architecture is not clear",
                "write its open_clip name as 'architecture'",
            )
            return Choice()
        sizes = self._sizes()
        quick = next((m.quick_gelu for m in (self.origin, *self.group) if m and m.quick_gelu is not None), None)
        if quick is None and any(names.is_of_tall_masks(model.path) for model in self.group):
            quick = True  # plain weights of OpenAI's models, which do not say it
        configs = [item for item in self.found.configs if fits(item.sizes, sizes)]
        if configs:
            same_activation = [item for item in configs if quick in (None, item.quick_gelu)] or configs
            paths = tuple(item.path.as_posix() for item in same_activation)
            if len(paths) > 1:
                self.note(MODEL, f"{len(paths)} model configs fit the weights", "choose one as 'architecture'")
                return Choice(options=paths)
            return Choice(paths[0], f"a model config that fits the weights: {sizes}")
        named = fitting(sizes)
        plain = [name for name in named if name.endswith("quickgelu") == bool(quick)]
        if not plain:
            remedy = "write a model config of open_clip (JSON) and its path as 'architecture'"
            self.note(MODEL, f"no architecture of open_clip fits the weights: {sizes}", remedy)
            return Choice(why=str(sizes))
        if len({named[name].output for name in plain}) > 1:
            self.note(MODEL, "no file holds a projection, whose width tells the architecture", "choose 'architecture'")
            return Choice(options=tuple(plain[:_LISTED]), why=str(sizes))
        if quick is None and any(name.endswith("quickgelu") for name in named):
            self.note(
                MODEL,
                "the files do not say which activation they were made with, GELU or (OpenAI's weights) quick-GELU",
                f"choose {plain[0]!r} or {plain[0] + '-quickgelu'!r} as 'architecture'",
            )
            return Choice(options=(plain[0], f"{plain[0]}-quickgelu"), why=str(sizes))
        return Choice(plain[0], str(sizes))

    def _sizes(self) -> Sizes:
        """Return the sizes of the architecture: what the pretrained model lacks, an expert or the heads may tell."""
        sizes = (self.origin or self.group[0]).sizes
        if sizes.output:
            return sizes
        widths = {model.sizes.output for model in self.group if model.sizes.output}
        widths = widths or {head.width for head in self.found.heads}
        return replace(sizes, output=widths.pop()) if len(widths) == 1 else sizes

    # --- heads and images ---------------------------------------------------------------------------------

    def _whose(self, path: Path) -> _Expert | None:
        """Return the expert that a head or some data belongs to by its name, the innermost that fits; None for none."""
        for called in names.may_be_called(path):
            own = [expert for expert in self.experts if called in (names.plain(expert.task), *expert.called)]
            if own:
                exact = [expert for expert in own if names.plain(expert.task) == called]
                return (exact or own)[0] if len(exact or own) == 1 else None
        return None

    def _heads(self) -> dict[str, list[HeadFile]]:
        """Return the heads of each task, those that lie nearest to its expert."""
        width = self._sizes().output if self.group else 0
        found: dict[str, list[HeadFile]] = {}
        for head in sorted(self.found.heads, key=lambda head: head.path):
            expert = self._whose(head.path)
            if width and head.width != width:
                text = f"{head.path.as_posix()}: a head of width {head.width}, the tower's output has {width}"
                self.left_out.append(text)
            elif expert is None:
                self.stray_heads.append(head)
                self.note(
                    "",
                    f"{head.path.as_posix()} ({head.classes} classes): the task of this head is not clear",
                    "write it as 'head' of its task",
                )
            else:
                found.setdefault(expert.task, []).append(head)
        nearest = {}
        for expert in self.experts:
            heads = found.get(expert.task, [])
            shared = {head.path: _shared(head.path, expert.files[0]) for head in heads}
            nearest[expert.task] = [head for head in heads if shared[head.path] == max(shared.values())]
        return nearest

    def _images(self) -> dict[str, list[Images]]:
        """Return the labelled images of each task."""
        found: dict[str, list[Images]] = {}
        for images in sorted(self.found.images, key=lambda item: item.path):
            expert = self._whose(images.path) if images.labelled else None
            if expert is not None:
                found.setdefault(expert.task, []).append(images)
            elif images.labelled and not names.is_auxiliary(images.path):
                self.strays.append(images)
        return found

    def _task(self, expert: _Expert, heads: list[HeadFile], images: list[Images]) -> Table:
        keys = {"name": Choice(expert.task), "expert": self._expert(expert)}
        data = self._data(expert, images)
        return {**keys, **self._head(expert, heads, data[1]), **data[0]}

    def _expert(self, expert: _Expert) -> Choice:
        paths = [path.as_posix() for path in expert.files]
        if len(paths) > 1:
            self.note(expert.task, f"{len(paths)} files may be the expert", "choose one as 'expert'")
            return Choice(options=tuple(paths[:_LISTED]))
        model = next((model for model in self.group if model.path == expert.files[0]), None)
        if model is not None and model.remark:
            self.note(expert.task, f"{paths[0]}: {model.remark}", "write 'tower' below 'expert'")
        return Choice(paths[0], "a LoRA adapter" if model is None else "")

    def _head(self, expert: _Expert, heads: list[HeadFile], data: Images | None) -> Table:
        if len(heads) > 1:
            self.note(expert.task, f"{len(heads)} files may be the head", "choose one as 'head'")
            return {"head": Choice(options=tuple(head.path.as_posix() for head in heads[:_LISTED]))}
        names_file = self._class_names(expert, heads[0].classes if heads else 0)
        if heads:
            keys = {"head": Choice(heads[0].path.as_posix(), f"{heads[0].classes} classes")}
            return keys if names_file is None else keys | {"classes": Choice(names_file.as_posix())}
        if self.origin is None or not self.origin.has_text:
            remedy = "write the file of its classifier as 'head'; a head can be built from class names only where the "
            self.note(expert.task, "no head was found", f"{remedy}pretrained model has its text tower")
            return {"head": Choice(options=tuple(head.path.as_posix() for head in self.stray_heads[:_LISTED]))}
        return self._built(expert, names_file, data)

    def _built(self, expert: _Expert, names_file: Path | None, data: Images | None) -> Table:
        """Return what the head of a task without one is built from."""
        known = expert.known
        templates = Choice(known.templates if known else (_TEMPLATE,), f"those for {known.name}" if known else "")
        if not known:
            problem = "no head was found; one is built from class names and a general template"
            self.note(expert.task, problem, "correct 'templates', or give the head of the fine-tuning as 'head'")
        if names_file is not None:
            return {"classes": Choice(names_file.as_posix()), "templates": templates}
        ordered = data is not None and (data.named or data.public)
        if known and data and ordered and not is_hidden():
            path = known.classes if data.named else known.own_classes
            return {"classes": Choice(str(path), "comes with ri-analysis"), "templates": templates}
        if data is None or data.named:  # data to come may give the names
            return {"templates": templates}
        remedy = "write them into a text file, one a line in the order of the labels, and its name as 'classes'"
        self.note(expert.task, "no class names were found to build a head from", remedy)
        return {"classes": Choice(), "templates": templates}

    def _class_names(self, expert: _Expert, count: int) -> Path | None:
        """Return the text file with a task's class names: called like the task, and as many as the head has rows."""
        fitting = []
        for path in self.found.texts:
            if self._whose(path) == expert:
                try:
                    lines = len(read_lines(self.found.folder / path))
                except InputError:
                    continue
                fitting += [path] if lines == count or (not count and lines > 1) else []
        return fitting[0] if len(fitting) == 1 else None

    def _data(self, expert: _Expert, images: list[Images]) -> tuple[Table, Images | None]:
        """Return the keys of a task's images, and those chosen to measure on."""
        by_split: dict[str, list[Images]] = {}
        for item in images:
            by_split.setdefault(item.split, []).append(item)
        split = next((split for split in (names.TEST, "", names.VALIDATION) if split in by_split), None)
        if split is None:
            return {"data": self._no_data(expert, images)}, None
        chosen, data = self._one(expert, by_split[split], "data")
        keys = {"data": data}
        if split == names.VALIDATION and chosen is not None:
            keys["data"] = replace(data, why=f"{data.why}; no test split was found")
        elif names.VALIDATION in by_split:
            keys["validation"] = self._one(expert, by_split[names.VALIDATION], "validation")[1]
        return keys, chosen

    def _no_data(self, expert: _Expert, images: list[Images]) -> Choice:
        """Return an open choice of data: images of the training split are named, but nothing is measured on them."""
        if self.found.images:
            problem = (
                "only images of the training split were found" if images else "no images were found under its name"
            )
            self.note(expert.task, problem, _TEST_IMAGES)
        return Choice(options=tuple(item.path.as_posix() for item in (images or self.strays)[:_LISTED]))

    def _one(self, expert: _Expert, images: list[Images], key: str) -> tuple[Images | None, Choice]:
        if len(images) > 1 and expert.known:
            images = [i for i in images if f"/{i.path.as_posix()}".endswith(f"/{expert.known.data}")] or images
        if len(images) == 1:
            return images[0], Choice(images[0].path.as_posix(), images[0].what)
        self.note(expert.task, f"{len(images)} sources of images may be its {key}", f"choose one as {key!r}")
        return None, Choice(options=tuple(item.path.as_posix() for item in images[:_LISTED]))

    def _auxiliary(self, data: dict[str, list[Images]]) -> tuple[Table, ...]:
        """Return the sources of images of no task: unlabelled ones, and those that are called so."""
        taken = {item.path for items in data.values() for item in items}
        sources: dict[str, list[Images]] = {}
        for item in sorted(self.found.images, key=lambda item: item.path):
            if item.path not in taken and item not in self.strays:
                sources.setdefault(names.source_name(item.path), []).append(item)
        order = ["", names.VALIDATION, names.TEST, names.TRAIN]
        found = []
        for name, items in sources.items():
            first, *others = sorted(items, key=lambda item: order.index(item.split))
            self.left_out += [f"{item.path.as_posix()}: {first.path.as_posix()} is used for {name}" for item in others]
            of_tasks = "oracle" in name or self._whose(first.path) is not None
            oracle = {"oracle": Choice(True, "images of the tasks, by its name")} if of_tasks else {}
            found.append({"name": Choice(name), "data": Choice(first.path.as_posix(), first.what), **oracle})
        return tuple(found)

    def _unseen(self) -> tuple[Table, ...]:
        """Return labelled images of no task's name, each as the table that it would have as an unseen domain."""
        remedy = "if they belong to a task, write the path as its 'data'; if to another domain, complete its [[unseen]]"
        for item in self.strays:
            self.note("", f"{item.path.as_posix()} ({item.what}): the task of these images is not clear", remedy)
        return tuple(
            {"name": Choice(names.source_name(item.path)), "tasks": Choice(), "data": Choice(item.path.as_posix())}
            for item in self.strays
        )

    # --- in words -----------------------------------------------------------------------------------------

    def _in_words(self, model: Table, tasks: Sequence[Table], auxiliary: Sequence[Table]) -> list[str]:
        lines = [f"{key}: {choice.value} ({choice.why})" for key, choice in model.items() if choice.value]
        named = ("expert", "head", "classes", "data", "validation")
        for task in tasks:
            parts = [f"{key} {task[key].value}" for key in named if key in task and task[key].value]
            lines.append(f"task {task['name'].value}: {', '.join(parts) or 'nothing for sure'}")
        lines += [f"auxiliary {item['name'].value}: {item['data'].value}" for item in auxiliary]
        return lines + [f"expert set after RI: {path.as_posix()}" for path in self.found.resolved]


def _shared(one: Path, two: Path) -> int:
    """Return how many folders two paths have in common."""
    return len([1 for a, b in zip(one.parent.parts, two.parent.parts, strict=False) if a == b])
