"""Read the structure of a pickle without running anything in it.

No class or function that a pickle names is ever imported or called. Classes become inert stand-ins that keep their
arguments and their state; the few functions that rebuild tensors are replaced by ones that only note where the tensor's
data lies. A pickle that asks for any other function to be called is refused with that function's name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, cast

from ri_analysis.errors import InputError

# Calls into the standard library that only make a value. They are not made either: an inert stand-in takes their place.
_PLAIN = {
    *("builtins." + name for name in ("object", "set", "frozenset", "list", "tuple", "dict", "bytearray", "bytes")),
    *("builtins." + name for name in ("complex", "slice", "range", "int", "float", "str", "bool")),
    *("collections." + name for name in ("Counter", "defaultdict", "deque", "UserDict")),
    *("datetime." + name for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *("pathlib." + name for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath")),
    *("_codecs.encode", "argparse.Namespace", "decimal.Decimal", "fractions.Fraction", "functools.partial"),
    *("logging.getLogger", "re._compile", "types.SimpleNamespace", "uuid.UUID", "random.Random", "enum.Enum"),
}
_PLAIN_FUNCTIONS = {
    *("numpy.dtype", "numpy.ndarray", "torch.device", "torch.dtype", "torch.Size", "torch.serialization._get_layout"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *("torch.Generator", "torch._C.Generator"),
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


class Mapped(dict[Any, Any]):
    """An OrderedDict of the pickle; what else was attached to it is dropped."""

    def __setstate__(self, state: object) -> None:
        """Attributes of a dictionary (torch's `_metadata`) are not needed."""


class _Named(type):
    """A class that was not imported; calling it makes an inert object when its name is harmless, else it is refused."""

    path: str

    def __call__(cls, *arguments: object, **_: object) -> object:
        return _call(cls.path, cls, arguments)


class Inert(metaclass=_Named):
    """An object of a class that was not imported: what it was made of and what its state was."""

    path = ""
    arguments: tuple[object, ...]
    state: object

    def __new__(cls, *arguments: object, **_: object) -> Inert:
        return _make(cls, arguments)

    def __setstate__(self, state: object) -> None:
        self.state = state

    @property
    def attributes(self) -> dict[str, Any]:
        """The object's attributes as they were pickled."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        return {key: value for key, value in state.items() if isinstance(key, str)} if isinstance(state, dict) else {}

    # What a list, set or dictionary in disguise is filled through; its items are not needed.
    def append(self, item: object) -> None:
        """Take an item of a class derived from list."""

    def extend(self, items: object) -> None:
        """Take items of a class derived from list."""

    def add(self, item: object) -> None:
        """Take an item of a class derived from set."""

    def __setitem__(self, key: object, value: object) -> None:
        """Take an entry of a class derived from dict."""


def _make(named: _Named, arguments: tuple[object, ...]) -> Inert:
    made = object.__new__(cast(type[Inert], named))
    made.arguments, made.state = arguments, None
    return made


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


def unpickle(stream: IO[bytes], source: str, *, latin: bool = False, storages: dict[str, Storage] | None = None) -> Any:
    """Return the structure of the pickle that starts at `stream`'s position, which is left behind its end.

    The result holds plain containers and values, `Mapped`, `Inert` and `TensorNote` objects. `latin` reads the text of
    Python 2 as Latin-1; `storages` is filled with every storage the pickle refers to, by key. Raises InputError naming
    `source` for a damaged pickle and for one that would run code.
    """
    start = stream.tell()
    try:
        end = _scan(stream, start)
        stream.seek(start)
        reader = _Reader(io.BytesIO(stream.read(end - start)), "latin-1" if latin else "utf-8", storages)
        return reader.load()
    except Unsafe as error:
        raise InputError(
            f"{source}: unsafe: loading it would call {error}; nothing was run. Ask for weights saved as a state dict "
            f"or safetensors"
        ) from None
    except Exception as error:  # a hostile or damaged pickle can fail in any way, and all of them mean the same
        raise InputError(f"{source}: expected a whole pickle, found damaged data ({error})") from None


def _scan(stream: IO[bytes], start: int) -> int:
    """Return where the pickle ends. Raises ValueError where it is cut off or would claim memory it does not fill."""
    stream.seek(0, io.SEEK_END)
    size = stream.tell() - start
    stream.seek(start)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise ValueError(f"memo index {argument} in {size} bytes")
        if opcode.name.startswith("EXT"):
            raise ValueError("extension codes are not part of checkpoints")
    return stream.tell()


class _Reader(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def __init__(self, stream: IO[bytes], encoding: str, storages: dict[str, Storage] | None) -> None:
        super().__init__(stream, encoding=encoding, errors="replace")
        self._storages: dict[str, Storage] = {} if storages is None else storages
        self._known: dict[str, object] = {path: _Function(path, run) for path, run in _FUNCTIONS.items()}

    def find_class(self, module: str, name: str) -> Any:
        # Older protocols write Python 2's names.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        path = f"{module}.{name}"
        if path not in self._known:
            self._known[path] = _Named(name, (Inert,), {"path": path})
        return self._known[path]

    def persistent_load(self, pid: Any) -> object:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # the older format keeps a class's source text beside it
        kind, storage, key, _, count, *view = pid
        if kind != "storage" or (view and view[0] is not None):
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        return self._storages.setdefault(str(key), Storage(_dtype(storage), str(key), int(count)))


def _call(path: str, named: _Named, arguments: tuple[Any, ...]) -> object:
    root, last = path.partition(".")[0], path.rpartition(".")[2]
    standard = root in sys.stdlib_module_names
    # Enum members and bound methods are pickled as getattr(class or object, name).
    member = path == "builtins.getattr" and len(arguments) == 2 and _is_foreign(arguments[0])
    # By convention a capital letter begins a class. Making an inert object of it runs nothing of it.
    foreign_class = not standard and last[:1].isupper()
    if not (member or foreign_class or path in _PLAIN or path in _PLAIN_FUNCTIONS):
        raise Unsafe(path)
    return _make(named, arguments)


def _is_foreign(value: object) -> bool:
    path = getattr(value, "path", None)
    return isinstance(path, str) and path.partition(".")[0] not in sys.stdlib_module_names


def _reconstruct(named: Any, *_: object) -> object:
    if not isinstance(named, _Named):
        raise pickle.UnpicklingError(f"expected a class to make, found {named!r}")
    return _make(named, ())


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> TensorNote:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError("a tensor without storage")
    return TensorNote(storage, int(offset), tuple(int(side) for side in shape), tuple(int(step) for step in stride))


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Any:
    note = _tensor(storage, offset, shape, stride)
    return TensorNote(Storage(_dtype(dtype), note.storage.key, -1), note.offset, note.shape, note.stride)


def _from_type(build: Any, _kind: object, arguments: Any, _state: object) -> object:
    if not isinstance(build, _Function):
        raise Unsafe(getattr(build, "path", repr(build)))
    return build(*arguments)


def _dtype(named: Any) -> str:
    """Return the element type that a storage class or a dtype of torch stands for."""
    name = str(getattr(named, "path", "")).rpartition(".")[2]
    return _STORAGES.get(name.removesuffix("Storage"), name)


_STORAGES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Untyped": "uint8"},
    **{"double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32"},
}

_FUNCTIONS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": Mapped,
    "typing.OrderedDict": Mapped,
    "copyreg._reconstructor": _reconstruct,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": lambda sides=(): tuple(sides),
}
