"""Read the structure of a pickle without running anything in it.

No class or function that a pickle names is ever imported or called. A class becomes an inert stand-in that keeps its
arguments and its state, and so does what a function of another library would return; the few functions that rebuild
tensors are replaced by ones that only note where the tensor's data lies. A pickle that asks for a call that could run
code, load files or reach other modules is refused with that function's name: it would be harmful elsewhere.

The structure is bounded before it is built: its bytes, its operations, and what may be a dictionary's key, because the
hash of a tuple that holds itself many times over would take for ever.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar, NamedTuple, cast

from ri_analysis import limits
from ri_analysis.errors import InputError

_ARGUMENT_LIMIT = 1_000  # of one call
_KEYS = (str, int, float, bool, bytes, type(None))  # of dictionaries and sets; entries under others are left out
_WORDS = 1 << 63

# Calls into the standard library that only make a value. They are not made either: an inert stand-in takes their place.
_PLAIN = {
    *("builtins." + name for name in ("object", "set", "frozenset", "list", "tuple", "dict", "bytearray", "bytes")),
    *("builtins." + name for name in ("complex", "slice", "range", "int", "float", "str", "bool")),
    *("collections." + name for name in ("Counter", "defaultdict", "deque", "UserDict", "UserList", "ChainMap")),
    *("datetime." + name for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *("pathlib." + name for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath")),
    *("pathlib.PureWindowsPath", "zoneinfo.ZoneInfo", "zoneinfo.ZoneInfo._unpickle", "ipaddress.IPv4Address"),
    *("_codecs.encode", "argparse.Namespace", "decimal.Decimal", "fractions.Fraction", "functools.partial"),
    *("logging.getLogger", "re._compile", "types.SimpleNamespace", "uuid.UUID", "random.Random", "enum.Enum"),
    *("array.array", "array._array_reconstructor", "time.struct_time", "itertools.count", "copyreg.__newobj__"),
}
# Of these libraries, functions whose names begin with an underscore and these others are known to make plain values;
# other libraries' functions are mentioned in a remark.
_KNOWN = ("numpy", "pandas", "torch")
_PLAIN_FUNCTIONS = {
    *("numpy.dtype", "numpy.ndarray", "torch.device", "torch.dtype"),
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
}
# Packages whose functions run, load or make code, and names of functions that do so in whatever package.
_GATEWAYS = {
    *("os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "importlib", "runpy", "pty", "ctypes", "code"),
    *("webbrowser", "pickle", "marshal", "multiprocessing", "cloudpickle", "dill", "pip", "IPython", "setuptools"),
}
_RUNNERS = {
    *("eval", "exec", "execfile", "compile", "system", "popen", "spawn", "run", "call", "check_call", "check_output"),
    *("open", "getattr", "setattr", "delattr", "globals", "__import__", "import_module", "runstring", "run_module"),
    *("load", "loads", "unpickle", "read_pickle", "load_module", "attrgetter", "methodcaller", "main"),
    *("load_state_dict_from_url", "download_url_to_file", "_load_from_bytes"),
    *("reduce_graph_module", "reduce_package_graph_module", "reduce_deploy_graph_module"),  # source text of torch.fx
}


class Storage(NamedTuple):
    """Where a tensor's data lies: its element type (`float32` …), the record's key and how many elements it holds."""

    dtype: str
    key: str
    elements: int


@dataclass(frozen=True)
class TensorNote:
    """A tensor that was not built: its storage, the offset in elements, shape and strides."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __setstate__(self, state: object) -> None:
        """Refuse what would change a note behind its back."""
        raise pickle.UnpicklingError("state for a tensor")


class Mapped(dict[Any, Any]):
    """An OrderedDict of the pickle; what else was attached to it is dropped."""

    def __setstate__(self, state: object) -> None:
        """Attributes of a dictionary (torch's `_metadata`) are not needed."""


class _Named(type):
    """A class or function that was not imported; calling it makes an inert object, or is refused."""

    path: str
    module: str
    found: Found

    def __call__(cls, *arguments: object, **_: object) -> object:
        return _call(cls, arguments)


class Inert(metaclass=_Named):
    """What a class or a function that was not imported would have made: its arguments, its state and its entries."""

    path = module = ""
    arguments: tuple[object, ...]
    state: object
    entries: dict[Any, Any]
    __getinitargs__ = ()  # the oldest opcodes too make objects by calling the class

    def __new__(cls, *arguments: object, **_: object) -> Inert:
        return _make(cls, arguments)

    def __call__(self, *_: object) -> object:
        raise Unsafe(f"what {self.path} returns")

    def __setstate__(self, state: object) -> None:
        self.state = state

    @property
    def attributes(self) -> dict[str, Any]:
        """The object's attributes as they were pickled, those in slots too."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        dicts = [part for part in parts[:2] if isinstance(part, dict)]
        return {key: value for part in dicts for key, value in part.items() if isinstance(key, str)}

    def __setitem__(self, key: object, value: object) -> None:
        """Take an entry of a class derived from dict."""
        _put(self.entries, key, value)

    # What a list or set in disguise is filled through; its items are not needed.
    def append(self, item: object) -> None:
        """Take an item of a class derived from list."""

    def extend(self, items: object) -> None:
        """Take items of a class derived from list."""

    def add(self, item: object) -> None:
        """Take an item of a class derived from set."""


def _make(named: _Named, arguments: tuple[object, ...]) -> Inert:
    made = object.__new__(cast(type[Inert], named))
    made.arguments, made.state, made.entries = arguments, None, {}
    return made


def _is_key(key: object) -> bool:
    """Whether hashing and comparing `key` is cheap, whatever a file makes of it."""
    return type(key) in _KEYS and not (type(key) is int and not -_WORDS <= key < 2 * _WORDS)


def _put(target: dict[Any, Any], key: object, value: object) -> None:
    if _is_key(key):
        target[key] = value


class _Function:
    """One of our own stand-ins for torch's rebuild functions. Holds no state a pickle could change."""

    __slots__ = ("_run", "path")

    def __init__(self, path: str, run: Callable[..., object]) -> None:
        self.path, self._run = path, run

    def __call__(self, *arguments: object) -> object:
        return self._run(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError(f"state for the function {self.path}")


class Unsafe(Exception):
    """The pickle asks for a function to be called; the message is its name."""


@dataclass
class Found:
    """What a pickle says beside its structure: the storages it refers to, and functions it asks to call.

    Only those functions of other libraries are held that are not known to make a plain value.
    """

    storages: dict[str, Storage] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    _names: dict[tuple[str, str], _Named] = field(default_factory=dict)

    def named(self, module: str, name: str) -> _Named:
        """Return what stands for the class or function `name` of `module`."""
        key = (module, name)
        if key not in self._names:
            if len(self._names) >= limits.limit("classes"):
                raise _TooLarge("classes")
            about = {"path": f"{module}.{name}", "module": module, "found": self}
            self._names[key] = _Named(name, (Inert,), about)
        return self._names[key]


def unpickle(
    stream: IO[bytes], source: str, *, latin: bool = False, found: Found | None = None, most: str = "structure-bytes"
) -> Any:
    """Return the structure of the pickle that starts at `stream`'s position, which is left behind its end.

    The result holds plain containers and values, `Mapped`, `Inert` and `TensorNote` objects. `latin` reads the text of
    Python 2 as Latin-1; `found` is filled; `most` is the limit of the pickle's bytes. Raises InputError naming `source`
    for a damaged pickle, for one that is too large to be a structure, and for one that would run code.
    """
    start = stream.tell()
    try:
        data = stream.read(limits.limit(most) + 1)
        end = _scan(io.BytesIO(data), most)
        stream.seek(start + end)
        return _Reader(io.BytesIO(data[:end]), "latin-1" if latin else "utf-8", found or Found()).load()
    except Unsafe as error:
        raise InputError(
            f"{source}: unsafe: loading it would call {_short(error)}; nothing was run. Ask for weights saved as a "
            f"state dict or safetensors"
        ) from None
    except _TooLarge as error:
        raise InputError(f"{source}: too large: {limits.beyond(str(error))}") from None
    except Exception as error:  # a hostile or damaged pickle can fail in any way, and all of them mean the same
        raise InputError(f"{source}: expected a whole pickle, found damaged data ({_short(error)})") from None


class _TooLarge(Exception):
    """The pickle is beyond a limit; the message is its name."""


def _short(error: Exception) -> str:
    return " ".join(str(error)[:200].split())


def _scan(stream: IO[bytes], most: str) -> int:
    """Return where the pickle ends. Raises ValueError where it is cut off, _TooLarge beyond the limits."""
    size, operations = stream.seek(0, io.SEEK_END), limits.limit("operations")
    stream.seek(0)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count == operations:
                raise _TooLarge("operations")
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
                raise ValueError(f"memo index {argument} in {size} bytes")
            if opcode.name.startswith("EXT"):
                raise ValueError("extension codes are not part of checkpoints")
    except ValueError:
        if size > limits.limit(most) and stream.tell() >= limits.limit(most):
            raise _TooLarge(most) from None
        raise
    return stream.tell()


# The pickle module's own unpickler in Python, because that in C hashes a key before anybody can look at it.
class _Reader(pickle._Unpickler):
    """An unpickler that imports nothing."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, stream: IO[bytes], encoding: str, found: Found) -> None:
        super().__init__(stream, encoding=encoding, errors="replace")
        self._found = found
        functions = {**_FUNCTIONS, **dict.fromkeys(("collections.OrderedDict", "typing.OrderedDict"), self._mapped)}
        self._known: dict[str, _Function] = {path: _Function(path, run) for path, run in functions.items()}
        self._copied, self._longest = 0, limits.limit("name-characters")

    def find_class(self, module: str, name: str) -> Any:
        # Older protocols write Python 2's names.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        module = "pathlib" if module == "pathlib._local" else module  # Python 3.13
        path = f"{module}.{name}"
        if len(path) > self._longest:
            raise _TooLarge("name-characters")
        return self._known.get(path) or self._found.named(module, name)

    def persistent_load(self, pid: Any) -> object:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # the older format keeps a class's source text beside it
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or (pid[5:] and pid[5] is not None):
            raise pickle.UnpicklingError("a reference to something other than a storage")
        _, storage, key, _, count, *_ = pid
        if type(key) not in (str, int) or not _is_key(key):
            raise pickle.UnpicklingError("a storage whose key is neither text nor a number")
        (count,) = _whole((count,))
        return self._found.storages.setdefault(str(key), Storage(_dtype(storage), str(key), count))

    def _mapped(self, items: Any = ()) -> Mapped:
        pairs = list(items.items() if isinstance(items, dict) else items)
        self._copied += len(pairs)
        if self._copied > limits.limit("operations"):  # one list may be named again and again
            raise _TooLarge("operations")
        made = Mapped()
        for key, value in pairs:
            _put(made, key, value)
        return made

    def _arguments(self) -> tuple[Any, ...]:
        found = self.stack.pop()
        if not isinstance(found, tuple) or len(found) > _ARGUMENT_LIMIT:
            raise pickle.UnpicklingError("a call with more arguments than any real one")
        return found

    def load_reduce(self) -> None:
        arguments = self._arguments()
        self.stack[-1] = self.stack[-1](*arguments)

    def load_newobj(self) -> None:
        arguments, named = self._arguments(), self.stack.pop()
        if not isinstance(named, _Named):
            raise pickle.UnpicklingError("a new object of something that is not a class")
        self.append(_make(named, arguments))

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keyword arguments
        self.load_newobj()

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        self._fill(self.pop_mark())

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._fill(items)

    def load_additems(self) -> None:
        items, target = self.pop_mark(), self.stack[-1]
        for item in items:
            if _is_key(item):
                target.add(item)

    def load_frozenset(self) -> None:
        self.append(frozenset(item for item in self.pop_mark() if _is_key(item)))

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict | Inert):
            raise pickle.UnpicklingError("entries for something other than a dictionary")
        entries = target if isinstance(target, dict) else target.entries
        for key, value in zip(items[::2], items[1::2], strict=True):
            _put(entries, key, value)

    dispatch |= {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
    }


def _call(named: _Named, arguments: tuple[Any, ...]) -> object:
    path = named.path
    if path == "builtins.getattr" and len(arguments) == 2 and isinstance(arguments[1], str):
        return _member(arguments[0], arguments[1])
    if path not in _PLAIN:
        if not _is_foreign(named) or _runs(named):
            raise Unsafe(path)
        root, last = path.partition(".")[0], path.rpartition(".")[2]
        # By convention a capital letter begins a class.
        if not (last[:1].isupper() or path in _PLAIN_FUNCTIONS or (root in _KNOWN and last.startswith("_"))):
            named.found.asked.add(path)
    for argument in arguments:
        if isinstance(argument, _Named) and _runs(argument):
            raise Unsafe(argument.path)
    return _make(named, arguments)


def _member(owner: Any, name: str) -> object:
    """Return what stands for a member of a class: enum members and class methods are pickled by `getattr`."""
    if not isinstance(owner, _Named | Inert) or not (_is_foreign(owner) or owner.path in _PLAIN):
        raise Unsafe("builtins.getattr")
    kind = owner if isinstance(owner, _Named) else type(owner)
    if len(kind.path) + len(name) > limits.limit("name-characters"):
        raise _TooLarge("name-characters")
    return kind.found.named(kind.module, f"{kind.path.removeprefix(kind.module + '.')}.{name}")


def _is_foreign(value: object) -> bool:
    path = getattr(value, "path", None)
    return isinstance(path, str) and path.partition(".")[0] not in sys.stdlib_module_names


def _runs(named: _Named) -> bool:
    """Whether a call of what is named could run code, load a file or reach into another module."""
    attributes = named.path.removeprefix(named.module + ".").split(".")
    through = sys.stdlib_module_names.intersection(attributes[:-1])  # as in `os.system` of the module `torch`
    return attributes[-1] in _RUNNERS or named.path.partition(".")[0] in _GATEWAYS or bool(through)


def _reconstruct(named: Any, *_: object) -> object:
    if not isinstance(named, _Named):
        raise pickle.UnpicklingError("expected a class to make")
    return _make(named, ())


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> TensorNote:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without storage")
    (start,) = _whole((offset,))
    return TensorNote(storage, start, _whole(shape), _whole(stride))


def _whole(numbers: Any) -> tuple[int, ...]:
    """Return what must be a few plain integers."""
    if not isinstance(numbers, tuple | list) or len(numbers) > 64:
        raise pickle.UnpicklingError("a tensor whose shape is not a short list")
    if not all(type(item) is int and abs(item) < _WORDS for item in numbers):
        raise pickle.UnpicklingError("a tensor whose place or shape is not a number")
    return tuple(numbers)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Any:
    note = _tensor(storage, offset, shape, stride)
    return TensorNote(Storage(_dtype(dtype), note.storage.key, -1), note.offset, note.shape, note.stride)


def _from_type(build: Any, _kind: object, arguments: Any, _state: object) -> object:
    if not isinstance(build, _Function):
        raise Unsafe(build.path if isinstance(build, _Named) else "an object")
    if not isinstance(arguments, tuple) or len(arguments) > 64:
        raise pickle.UnpicklingError("a tensor made of something that is not a short list")
    return build(*arguments)


def _dtype(named: Any) -> str:
    """Return the element type that a storage class or a dtype of torch stands for."""
    name = str(getattr(named, "path", "")).rpartition(".")[2]
    return _STORAGES.get(name.removesuffix("Storage"), name)


_STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"},
    **{
        "ComplexFloat": "complex64",
        "ComplexDouble": "complex128",
        "QInt8": "int8",
        "QUInt8": "uint8",
        "QInt32": "int32",
    },
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Untyped": "uint8"},
    **{"double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32"},
}

_FUNCTIONS: dict[str, Callable[..., object]] = {
    "copyreg._reconstructor": _reconstruct,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": lambda sides=(): _whole(sides),
}
