"""The suite file: what it may say, and every finding about what it does say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ri_analysis import limits
from ri_analysis.allowed import Outside, is_allowed
from ri_analysis.documents import parse_toml, place, read_text, read_toml
from ri_analysis.errors import InputError, bounded
from ri_analysis.hyperparameters import suggest
from ri_analysis.suite.generators import GENERATORS

NAMES, ORDER = "names", "order"  # what `labels` may say
_MOST = 200  # findings: whoever corrects these will find the others


@dataclass(frozen=True)
class TaskSpec:
    """One `[[task]]`: a head is a file, or is built from class names and templates through the text tower.

    `logit_scale` multiplies the weights of a head file; `images_per_class` caps the images measured on; `tower` is the
    prefix of the vision tower that is meant, where the expert's file holds several. `labels` says which row of the head
    a class of the data is: the row of its name, or (ORDER) that of its place.
    """

    name: str
    expert: Path
    data: Path
    head: Path | None = None
    classes: Path | None = None
    templates: tuple[str, ...] = ()
    validation: Path | None = None
    logit_scale: float = 1.0
    images_per_class: int | None = None
    tower: str | None = None
    labels: str = NAMES


@dataclass(frozen=True)
class AuxiliarySpec:
    """One `[[auxiliary]]`: unlabelled images from a path, or generated; `oracle` marks task images."""

    name: str
    data: Path | None = None
    generator: str | None = None
    seed: int = 0
    count: int = 2048
    oracle: bool = False


@dataclass(frozen=True)
class UnseenSpec:
    """One `[[unseen]]`: a domain no expert saw. Labels index the tasks' classes, joined in the order listed.

    `labels` is as in TaskSpec.
    """

    name: str
    tasks: tuple[str, ...]
    data: Path
    labels: str = NAMES


@dataclass(frozen=True)
class ResolvedSpec:
    """One `[[resolved]]`: a folder of RI-adapted experts."""

    name: str
    directory: Path
    default: bool = False


@dataclass(frozen=True)
class SuiteSpec:
    """A suite file in full, its paths absolute.

    `root` is where relative paths of weights and images start; `tower` is that of `pretrained`, as a task's.
    """

    path: Path
    root: Path
    name: str
    architecture: str
    pretrained: str
    tasks: tuple[TaskSpec, ...]
    auxiliary: tuple[AuxiliarySpec, ...]
    unseen: tuple[UnseenSpec, ...]
    resolved: tuple[ResolvedSpec, ...]
    tower: str | None = None

    @property
    def pretrained_path(self) -> Path:
        """Where the pretrained model lies, if `pretrained` is a file and not a tag."""
        return place(self.root, self.pretrained)


class _Beside:
    """Text that names a file relative to the suite file, wherever `root` points."""


class _Templates:
    """A list of texts, or a file beside the suite file with one a line."""


# key → (type, required); Path means text that names a file relative to `root`
_TABLES: dict[str, tuple[type, dict[str, tuple[type, bool]]]] = {
    "task": (
        TaskSpec,
        {
            "name": (str, True),
            "expert": (Path, True),
            "data": (Path, True),
            "head": (Path, False),
            "classes": (_Beside, False),
            "templates": (_Templates, False),
            "validation": (Path, False),
            "logit_scale": (float, False),
            "images_per_class": (int, False),
            "tower": (str, False),
            "labels": (str, False),
        },
    ),
    "auxiliary": (
        AuxiliarySpec,
        {
            "name": (str, True),
            "data": (Path, False),
            "generator": (str, False),
            "seed": (int, False),
            "count": (int, False),
            "oracle": (bool, False),
        },
    ),
    "unseen": (
        UnseenSpec,
        {"name": (str, True), "tasks": (list, True), "data": (Path, True), "labels": (str, False)},
    ),
    "resolved": (
        ResolvedSpec,
        {"name": (str, True), "directory": (Path, True), "default": (bool, False)},
    ),
}
_MODEL: dict[str, tuple[type, bool]] = {
    "architecture": (str, True),
    "pretrained": (str, True),
    "tower": (str, False),
}
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "text"),
    Path: ((str,), "a path"),
    _Beside: ((str,), "a path"),
    list: ((list,), "a list of texts"),
    _Templates: ((str, list), "a list of texts, or a file of them"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}
RESERVED_SETS = ("original", "ri")
MEAN = "mean"  # what a table's row about all tasks, or all unseen domains, is called
PRETRAINED = "pretrained"  # what is measured against, where it is no task's expert


def read_spec(path: Path) -> SuiteSpec:
    """Read the suite file at `path`. Raises InputError that lists every finding about its text."""
    spec, findings = parse_spec(path)
    if spec is None:
        raise InputError("\n".join(findings))
    return spec


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file that are not empty. Raises InputError."""
    lines = read_text(path, "one text a line").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def parse_spec(path: Path, text: str | None = None) -> tuple[SuiteSpec | None, list[str]]:
    """Return the suite file's content, or None with every finding about its text.

    With `text` it is that of a suite file that is to lie at `path`, and is not there yet.
    """
    expected = "a suite file in TOML"
    try:
        document = read_toml(path, expected) if text is None else parse_toml(text, path, expected)
    except InputError as error:
        return None, [str(error)]
    reader = _Reader(path.resolve())
    try:
        return _read(reader, document, path), reader.findings
    except _Refused:
        return None, reader.findings
    except InputError as error:  # too much of something
        return None, [*reader.findings, str(error)]


def _read(reader: _Reader, document: Mapping[str, Any], path: Path) -> SuiteSpec:
    """Return what the document at `path` says. Raises _Refused where there are findings."""
    reader.unknown(document, ["name", "root", "model", *_TABLES], "")
    reader.root = reader.base(document.get("root", "."))
    model = reader.table(document.get("model"), _MODEL, "[model]")
    if str(model.get("architecture")).startswith("local-dir:"):  # open_clip would read any folder
        reader.note("[model]: architecture", "must be open_clip's name, or the path of a model config (JSON)")
    sections = {name: reader.section(document, name) for name in _TABLES}
    name = document.get("name", path.parent.name)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):  # it names a folder
        reader.note("", f"name must be letters, digits, '.', '_' and '-', found {name!r}")
    if not reader.findings:
        reader.relations(sections)
    if reader.findings:
        raise _Refused
    tasks, auxiliary, unseen, resolved = sections.values()
    return SuiteSpec(
        reader.path, reader.root, name, **model, tasks=tasks, auxiliary=auxiliary, unseen=unseen, resolved=resolved
    )


class _Refused(Exception):
    """The suite file has findings, and no more of them are looked for."""


class _Reader:
    """Turns TOML tables into specs, noting every finding instead of stopping at the first."""

    def __init__(self, path: Path) -> None:
        self.path, self.root, self.findings = path, path.parent, list[str]()

    def base(self, root: object) -> Path:
        """Return the folder that relative paths of weights and images start from."""
        if not isinstance(root, str):
            self.note("root", f"must be a path, found {root!r}")
            return self.path.parent
        folder = self.place(self.path.parent, root, "root")
        if not folder.is_dir():
            self.note("root", f"expected the folder that holds the weights and images, found none at {folder}")
        return folder

    def note(self, where: str, text: str) -> None:
        self.findings.append(bounded(f"{self.path}: {where}: {text}" if where else f"{self.path}: {text}"))
        if len(self.findings) == _MOST:
            self.findings.append(f"{self.path}: there may be more problems; these are the first {_MOST}")
            raise _Refused

    def unknown(self, table: Mapping[str, object], known: list[str], where: str) -> None:
        for key in table:
            if key not in known:
                self.note(where, f"unknown key {key!r}; {suggest(key, known)}")

    def section(self, document: Mapping[str, Any], name: str) -> tuple[Any, ...]:
        rows = document.get(name, [])
        if not isinstance(rows, list):
            self.note("", f"expected [[{name}]] tables, found [{name}]")
            return ()
        limits.require("suite-tables", len(rows), f"{self.path}: [[{name}]]")
        kind, keys = _TABLES[name]
        found = []
        for number, row in enumerate(rows, 1):
            before = len(self.findings)
            values = self.table(row, keys, f"[[{name}]] {number}")
            if len(self.findings) == before:
                found.append(kind(**values))
        return tuple(found)

    def table(self, table: object, keys: Mapping[str, tuple[type, bool]], where: str) -> dict[str, Any]:
        if not isinstance(table, dict):
            self.note(where, "missing")
            return {}
        if isinstance(table.get("name"), str):
            where = f"{where} ({table['name']})"
        self.unknown(table, list(keys), where)
        values: dict[str, Any] = {}
        for key, (kind, required) in keys.items():
            if key in table:
                values[key] = self.value(table[key], kind, f"{where}: {key}")
            elif required:
                self.note(where, f"key {key!r} missing")
        return values

    def value(self, value: object, kind: type, where: str) -> Any:
        wanted, words = _KINDS[kind]
        texts = not isinstance(value, list) or all(isinstance(item, str) for item in value)
        if not isinstance(value, wanted) or (kind is not bool and isinstance(value, bool)) or not texts:
            self.note(where, f"must be {words}, found {value!r}")
        elif kind is Path:
            return self.place(self.root, str(value), where)
        elif kind is _Beside:
            return self.place(self.path.parent, str(value), where)
        elif kind is _Templates and isinstance(value, str):
            return self.lines(self.place(self.path.parent, value, where), where)
        elif isinstance(value, list):
            return tuple(value)
        return value

    def place(self, folder: Path, name: str, where: str) -> Path:
        try:
            path = place(folder, name)
            if is_allowed(path):
                found = path.resolve()
                # A hub cache's file is a link to one without a suffix, which says how it is read.
                return found if found.suffix == path.suffix or found.is_dir() else path.parent.resolve() / path.name
            self.note(where, str(Outside(repr(name))))
        except (InputError, OSError, RuntimeError) as error:  # a loop of links
            self.note(where, f"expected a path, found {error}")
        return folder

    def lines(self, path: Path, where: str) -> tuple[str, ...]:
        try:
            return read_lines(path)
        except Outside:  # noted already
            return ()
        except InputError as error:
            self.note(where, str(error))
            return ()

    def relations(self, sections: Mapping[str, tuple[Any, ...]]) -> None:
        """Note what is wrong between tables: names used twice, a head declared in no way, unknown tasks."""
        if not sections["task"]:
            self.note("", "expected at least one [[task]], found none")
        for section, rows in sections.items():
            for row in rows:
                if not row.name.isprintable() or not row.name or row.name != row.name.strip():
                    text = "a name must be printable, must not be empty, and must not begin or end with a space"
                    self.note(f"[[{section}]]", f"{text}, found {row.name!r}")
            counts = Counter(row.name for row in rows)
            for name in sorted(name for name, count in counts.items() if count > 1):
                self.note(f"[[{section}]]", f"name {name!r} is used {counts[name]} times")
        tasks = [task.name for task in sections["task"]]
        known = frozenset(tasks)
        for task in sections["task"]:
            self.task(task)
        for item in sections["auxiliary"]:
            self.auxiliary(item)
        for domain in sections["unseen"]:
            where = f"[[unseen]] ({domain.name})"
            self.labels(where, domain.labels)
            self.reserved(where, domain.name)
            if len(set(domain.tasks)) < max(1, len(domain.tasks)):
                self.note(where, "expected tasks, each once, in 'tasks'")
            for name in domain.tasks:
                if name not in known:
                    self.note(where, f"unknown task {name!r}; {suggest(name, tasks)}")
        for item in sections["resolved"]:
            if item.name in RESERVED_SETS:
                self.note("[[resolved]]", f"name {item.name!r} is reserved")
        if sum(item.default for item in sections["resolved"]) > 1:
            self.note("[[resolved]]", "at most one may be the default")

    def task(self, task: TaskSpec) -> None:
        where = f"[[task]] ({task.name})"
        self.reserved(where, task.name)
        if re.search(r"[=,/\\]", task.name):
            self.note(where, "a name must not hold '=', ',', '/' or a backslash")
        if task.head is None and not task.templates:
            self.note(where, "expected a head, or classes with templates to build one, found neither")
        self.labels(where, task.labels)
        if task.images_per_class is not None and task.images_per_class < 1:
            self.note(where, f"images_per_class must be at least 1, found {task.images_per_class}")
        if not 0 < task.logit_scale < float("inf"):
            self.note(where, f"logit_scale must be a positive number, found {task.logit_scale}")
        for template in task.templates:
            if template.count("{}") != 1:
                self.note(where, f"a template must hold '{{}}' once, found {template!r}")

    def reserved(self, where: str, name: str) -> None:
        if name in (MEAN, PRETRAINED):
            self.note(where, f"name {name!r} is reserved: results use it for something else")

    def labels(self, where: str, how: str) -> None:
        if how not in (NAMES, ORDER):
            self.note(where, f"labels must be {NAMES!r} or {ORDER!r}, found {how!r}")

    def auxiliary(self, item: AuxiliarySpec) -> None:
        where = f"[[auxiliary]] ({item.name})"
        if (item.data is None) == (item.generator is None):
            self.note(where, "expected either data or a generator")
        if item.generator is not None and item.generator not in GENERATORS:
            self.note(where, f"unknown generator {item.generator!r}; {suggest(item.generator, list(GENERATORS))}")
        if not 1 <= item.count <= limits.limit("generated-images"):
            self.note(where, f"count must be from 1 to {limits.limit('generated-images'):,}, found {item.count}")
        if item.seed < 0:
            self.note(where, f"seed must be at least 0, found {item.seed}")
