"""Methods, analyses and studies: registries of those of this package, and plug-ins that bring more of them.

A plug-in is a Python file or an installed module that declares METHOD, ANALYSIS or STUDY, as a file of this package
does. Its source is part of what it adds: a digest of it joins the names of all results, so that none is of an earlier
version. Files are loaded where their user names them, and installed modules by their entry points, in the group
`ri_analysis.plugins`.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache, wraps
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from importlib.util import find_spec
from inspect import isgenerator
from pathlib import Path
from site import getusersitepackages
from sysconfig import get_path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ri_analysis.allowed import is_hidden
from ri_analysis.documents import own_bytes, own_path
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.files import digest
from ri_analysis.hyperparameters import suggest
from ri_analysis.memory import is_full

VARIABLE = "RI_ANALYSIS_PLUGINS"  # plug-ins by name, separated as the folders of PATH
GROUP = "ri_analysis.plugins"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SEVERAL = ("all", "none")  # what flags and links take besides names
_DIGITS = 12  # of a digest that are shown


class Entry(Protocol):
    """What registries hold. `source` is the digest of the plug-in that it comes from, "" in this package."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def source(self) -> str:
        """See above."""


Kind = TypeVar("Kind", bound=Entry)


class Registry(dict[str, Kind], Generic[Kind]):
    """Entries of one kind by name. `constant` is what a module declares one as; `called` is what messages call it.

    What is registered appears everywhere from then on. `check` may raise InputError for an entry that can't be taken.
    """

    def __init__(
        self, constant: str, kind: type[Any], called: str, check: Callable[[Kind], None] = lambda _: None
    ) -> None:
        super().__init__()
        self._constant, self._kind, self._called, self._check = constant, kind, called, check
        _registries[constant] = self

    def register(self, entry: Kind, source: str = "") -> None:
        """Add an entry. Raises InputError for a name that is taken or no name."""
        if not NAME.fullmatch(str(entry.name)):
            raise InputError(f"{self._called} {entry.name!r}: expected a name of letters a to z, digits and single -")
        if source and entry.name in _SEVERAL:
            raise InputError(f"{self._called} {entry.name!r}: expected another name, as this one stands for several")
        if entry.name in self:
            raise InputError(f"{self._called} {entry.name!r} exists already")
        self._check(entry)
        self[entry.name] = replace(entry, source=source) if source else entry  # type: ignore[type-var]

    def declared(self, module: ModuleType) -> Kind | None:
        """Return what a module declares; None where that is nothing, or something else that it has imported."""
        found: Kind | None = getattr(module, self._constant, None)
        known = isinstance(found, self._kind) and self.get(found.name) is found
        return found if isinstance(found, self._kind) and not known else None

    def discover(self, modules: Iterable[ModuleType]) -> None:
        """Register what this package's modules declare."""
        for module in modules:
            if (found := self.declared(module)) is not None:
                self.register(found)

    def find(self, name: str) -> Kind:
        """Return the entry of that name. Raises InputError with the near match when there is none."""
        if name not in self:
            raise InputError(f"unknown {self._called} {name!r}; {suggest(name, list(self))}")
        return self[name]


_registries: dict[str, Registry[Any]] = {}
_loaded: dict[str, Plugin] = {}


@dataclass(frozen=True)
class Plugin:
    """A plug-in as it was loaded: `name` is how to load it again, a path or an entry point's name."""

    name: str
    source: str
    added: tuple[tuple[str, str], ...] = ()
    """Constants and names of what it added."""

    @property
    def path(self) -> Path | None:
        """Its file, None for an installed one."""
        return Path(self.name) if os.sep in self.name else None

    @property
    def title(self) -> str:
        """What provenance calls it."""
        return f"plug-in {self.path.name if self.path else self.name}"


def named() -> list[str]:
    """Return the plug-ins that the environment names."""
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def installed() -> list[str]:
    """Return the plug-ins that installed packages bring."""
    return sorted(_entry_points())


def load(names: Iterable[str], say: Callable[[str], None]) -> None:
    """Load plug-ins, each by the path of a file or folder, or an entry point's name; what is loaded already stays.

    But a file that has changed replaces what it added before. `say` is told in one message each what can't be used
    and why; the rest is loaded.
    """
    for each in [each for name in names for each in _each(name)]:
        try:
            _load(each, say)
        except InputError as error:
            say(str(error))


def unload(name: str) -> None:
    """Take out what a plug-in added."""
    plugin = _loaded.pop(_full(name), None)
    for constant, entry in plugin.added if plugin else ():
        del _registries[constant][entry]


def loaded() -> dict[str, str]:
    """Return the plug-ins that are loaded, by name with the digest of each one's source."""
    return {name: plugin.source for name, plugin in _loaded.items()}


def load_same(wanted: Mapping[str, str]) -> None:
    """Load what another process has loaded, see `loaded`. Raises InputError where it can't be had just so."""
    said: list[str] = []
    load(wanted, said.append)
    for name, source in wanted.items():
        if loaded().get(name) != source:
            why = "; ".join(said) or "its file has changed since it was loaded"
            raise InputError(f"{name}: expected the plug-in that the study began with, found another: {why}")


def versions() -> tuple[tuple[str, str], ...]:
    """Return the plug-ins that results may depend on, each with the first digits of its source's digest."""
    return tuple((plugin.title, plugin.source[:_DIGITS]) for plugin in _loaded.values())


def files(*sources: str) -> list[str]:
    """Return the files with these sources, as they are told."""
    found = [plugin for plugin in _loaded.values() if plugin.source in sources]
    return [_told(plugin.name) for plugin in found if plugin.path is not None]


def _told(name: str) -> str:
    """Return what a plug-in is called: a file by its path, or by its name alone where others see the pages."""
    return Path(name).name if is_hidden() else name


def flags(*sources: str) -> list[str]:
    """Return the flags that load the files with these sources: what a command with their entries takes."""
    return [word for path in files(*sources) for word in ("--plugin", path)]


# --- loading ----------------------------------------------------------------------------------------------


def _each(name: str) -> list[str]:
    """Return the files in a folder, without their tests; what is no folder, or an empty one, as it is named."""
    if name in _entry_points() or not own_path(name).is_dir():
        return [name]
    found = sorted(own_path(name).glob("*.py"))
    return [str(path) for path in found if not path.name.startswith(("test_", "_", "."))] or [name]


def _load(name: str, say: Callable[[str], None]) -> None:
    full = _full(name)
    if full in _loaded and full in _entry_points():
        return  # Python has imported it, as it was
    content = _content(full)
    source = digest(*(part for pair in sorted(content.items()) for part in pair))
    if full in _loaded and _loaded[full].source == source:
        return
    unload(full)
    module, added = _module(full, content), []
    declared = {constant: registry.declared(module) for constant, registry in _registries.items()}
    for constant, entry in declared.items():
        if entry is not None:
            try:
                _registries[constant].register(_guarded(entry, full, f"{constant.lower()} {entry.name!r}"), source)
            except InputError as error:
                say(f"{full}: {error}; the plug-in's own is left out")
            else:
                added.append((constant, entry.name))
    if not any(declared.values()):
        raise InputError(f"{full}: expected a plug-in that declares METHOD, ANALYSIS or STUDY, found none of them")
    _loaded[full] = Plugin(full, source, tuple(added))


def _full(name: str) -> str:
    """Return the absolute path of a file, or an entry point's name as it is."""
    return name if name in _entry_points() else str(own_path(name).absolute())


@lru_cache(maxsize=1)
def _entry_points() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _content(name: str) -> dict[str, bytes]:
    """Return the source of a plug-in by file: of an installed one that of its whole package."""
    entry = _entry_points().get(name)
    try:
        if entry is None:
            return {"": own_bytes(Path(name), "a plug-in")}
        spec = find_spec(entry.module.partition(".")[0])
        places = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
        files = {path.relative_to(place).as_posix(): path for place in places for path in place.rglob("*.py")}
        if not files and spec is not None and spec.origin is not None:
            files = {"": Path(spec.origin)}
        return {key: path.read_bytes() for key, path in files.items()}
    except OSError as error:
        raise InputError(f"{name}: expected a plug-in, found none that can be read ({error.strerror})") from error


def _module(name: str, content: Mapping[str, bytes]) -> ModuleType:
    """Run a plug-in's module. Raises InputError for whatever goes wrong in it."""
    entry = _entry_points().get(name)
    try:
        with redirect_stdout(sys.stderr), _unchanged():  # stdout is for results
            return import_module(entry.module) if entry is not None else _run(Path(name), content[""])
    except (Exception, SystemExit) as error:
        if isinstance(error, InputError) and entry is None and str(error).startswith(name):
            raise
        raise _said(error, name, "can't be used as a plug-in") from error


def _said(error: BaseException, name: str, what: str) -> InputError:
    """Return one message for whatever went wrong in a plug-in."""
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else _line(error, name)
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return InputError(f"{_told(name)}{line}: {what}: {type(error).__name__}: {said}")


def _line(error: BaseException, name: str) -> str:
    """Return where in a plug-in's file something went wrong."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            found = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _run(path: Path, source: bytes) -> ModuleType:
    # A name of its own, by which whatever is pickled is found where the same file is loaded.
    module = ModuleType(f"ri_analysis_plugin_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}_{digest(str(path))[:8]}")
    module.__file__ = str(path)
    module.__dict__["print"] = _aside
    sys.modules[module.__name__] = module
    try:
        _refuse_strangers(path, source)
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        _refuse_neighbours(path, module)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return module


def _aside(*values: object, **named: Any) -> None:
    """Print for a plug-in, whenever it does: stdout is for results."""
    print(*values, **{"file": sys.stderr, **named})


def _refuse_neighbours(path: Path, module: ModuleType) -> None:
    """Raise InputError where a plug-in uses a file beside it: its digest would not tell that one's changes."""
    for value in list(vars(module).values()):
        other = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
        place = getattr(other, "__file__", None)
        if other is not module and place is not None and Path(place).parent == path.parent:
            raise _uses(path, place)


def _refuse_strangers(path: Path, source: bytes) -> None:
    """Raise InputError where a plug-in imports, anywhere, what is in no installed package: see `_refuse_neighbours`."""
    nodes = list(ast.walk(ast.parse(source, str(path))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        if name in sys.stdlib_module_names or name == __package__:
            continue
        spec = find_spec(name)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
        if all(any(Path(each).is_relative_to(home) for home in _homes()) for each in places if each):
            continue
        if name not in packages_distributions():
            raise _uses(path, next(filter(None, places)))


@lru_cache(maxsize=1)
def _homes() -> tuple[str, ...]:
    """Return the folders of installed packages."""
    return tuple({get_path("purelib"), get_path("platlib"), getusersitepackages()})


def _uses(path: Path, place: str) -> InputError:
    return InputError(
        f"{path}: expected a plug-in in one file, found that it imports {place}, whose changes would go unnoticed; "
        f"put both into an installed package with an entry point in the group {GROUP!r}"
    )


# --- what goes wrong later --------------------------------------------------------------------------------


def _guarded(entry: Any, name: str, what: str) -> Any:
    """Return a declaration whose functions raise one InputError for whatever goes wrong within them."""
    changed: dict[str, Any] = {}
    for item in fields(entry):
        value = getattr(entry, item.name)
        if is_dataclass(value) and not isinstance(value, type):
            changed[item.name] = _guarded(value, name, what)
        elif callable(value) and not isinstance(value, type):
            changed[item.name] = _guard(value, name, what)
    return replace(entry, **changed)


def _guard(function: Callable[..., Any], name: str, what: str) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with _explained(name, what):
            result = function(*arguments, **named)
        return _steps(result, name, what) if isgenerator(result) else result

    return call


def _steps(generator: Generator[Any, Any, Any], name: str, what: str) -> Generator[Any, Any, Any]:
    """Yield what a plug-in's generator yields, a study's rounds."""
    sent: Any = None
    while True:
        try:
            with _explained(name, what):
                value = generator.send(sent)
        except StopIteration as end:
            return end.value
        sent = yield value


class _Changed(Exception):
    """Something that holds for the whole process was changed."""


@lru_cache(maxsize=1)
def _process() -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """Return what all numbers of a process, or where it finds files, hang on: how each is asked for, and set."""
    import torch  # takes seconds, and not every command needs it

    return {
        "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "whether torch computes gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
        "the precision of torch's products": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        "how NumPy treats errors": (np.geterr, lambda before: np.seterr(**before)),
        "the current folder": (os.getcwd, os.chdir),
        "variables RI_ANALYSIS_…": (_variables, _set_variables),
    }


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RI_ANALYSIS_")}


def _set_variables(before: Mapping[str, str]) -> None:
    for name in _variables().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@contextmanager
def _unchanged() -> Iterator[None]:
    """Raise _Changed where what is run within changes what holds for all others in the process; it is set back."""
    before = {name: look() for name, (look, _) in _process().items()}
    said = []
    try:
        yield
    finally:
        for name, (look, put) in _process().items():
            if look() != before[name]:
                said.append(name)
                put(before[name])
    if said:
        raise _Changed(f"expected to leave the process as it is, found that it changed {' and '.join(said)}")


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    """Turn what goes wrong in a plug-in into one InputError; what is no fault of it passes unchanged."""
    try:
        with _unchanged():
            yield
    except _Changed as error:
        raise InputError(f"{_told(name)}: {what}: {error}") from error
    except (InputError, Cancelled, MemoryError, StopIteration):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and is_full(error):
            raise
        raise _said(error, name, f"{what} failed") from error
