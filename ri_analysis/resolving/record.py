"""What decides an RI run, and the record of a finished one: JSON, which may be a stranger's, looked at before use."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from ri_analysis.allowed import require_allowed
from ri_analysis.documents import parse_json, read_text
from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Value
from ri_analysis.resolving.settings import HYPERPARAMETERS
from ri_analysis.suite import Suite
from ri_analysis.suite.suite import RECORD

Shape = TypeVar("Shape")
_Count = Annotated[int, Field(ge=0)]
_Name = Annotated[str, Field(pattern=r"^\S+$")]
_Task = Annotated[str, Field(pattern=r"^[^/\\]+$")]  # it names files
_Value = float | None  # null where it was not a finite number
_Losses = tuple[_Count, _Value, _Value, _Value]
_Look = tuple[_Count, _Value, _Value, _Value, _Value]


class Source(TypedDict, total=False):
    """The auxiliary images: their source's name, how many, a digest of them, and whether they are the tasks' own."""

    name: str
    images: _Count
    digest: str
    oracle: bool


class Plan(TypedDict, total=False):
    """What decides a run's outcome; `weights` holds digests of the pretrained model and the experts."""

    suite: str
    tasks: list[_Task]
    auxiliary: Source
    settings: dict[_Name, str | bool | int | float]
    seed: _Count
    weights: dict[str, str]


class Looked(TypedDict):
    """Looks at held-out images: how many those are, and by task a HeldOut for each look."""

    images: _Count
    looks: dict[str, list[_Look]]


class Record(Plan, total=False):
    """How an expert set was made: its plan and, by task, the losses [step, keep, free, loss]; `seconds` it took.

    `experts` holds digests of what was written, by task, so that a file which changed since is not taken for it.
    """

    precision: str
    name: str
    history: dict[str, list[_Losses]]
    together: list[list[_Value]]
    experts: dict[str, str]
    held_out: Looked
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    made: str
    versions: dict[str, str]


def record_of(suite: Suite, name: str) -> Record:
    """Return how an RI-adapted expert set was made, as its trainer wrote it down; empty when it did not.

    Raises InputError for a record that is none.
    """
    path = suite.resolved_set(name).directory / RECORD
    require_allowed(path)
    return read_record(path) if path.exists() else {}


def read_record(path: Path) -> Record:
    """Return the record of an RI run. Raises InputError for one that is none."""
    found = read_as(Record, path, "the record of an RI run")
    _require_settings(found, path)
    return found


def read_plan(path: Path) -> Plan:
    """Return the plan of an RI run. Raises InputError where it is none, or lacks what a run needs."""
    expected = "the plan of an RI run"
    found = read_as(Plan, path, expected)
    lacking = [key for key in ("tasks", "auxiliary", "settings", "seed") if key not in found]
    lacking += ["auxiliary.name"] if "name" not in found.get("auxiliary", {"name": ""}) else []
    lacking += ["settings.steps"] if "steps" not in found.get("settings", {"steps": 0}) else []
    if lacking:
        raise InputError(f"{path}: expected {expected}, found none of its {', '.join(lacking)}; delete the folder")
    _require_settings(found, path)
    return found


def read_losses(path: Path) -> list[list[float | None]]:
    """Return what was noted of a finished expert, a row a step. Raises InputError."""
    return read_as(list[list[_Value]], path, "what was noted of a finished expert")


def read_as(shape: type[Shape], path: Path, expected: str) -> Shape:
    """Return the JSON value of a file, which must be of a shape that is declared as a type.

    Keys that are not declared are kept. Raises InputError that says where it is of another.
    """
    return parse_as(shape, read_text(path, expected), path, expected)


def parse_as(shape: type[Shape], text: str, path: Path, expected: str) -> Shape:
    """Return the value of JSON text that lies at `path`, as `read_as` does."""
    found: Shape = parse_json(text, path, expected)
    try:
        _adapter(cast(Hashable, shape)).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place, why = ".".join(map(str, first["loc"]))[:80], first["msg"][:120]
        what = f"{type(first['input']).__name__}{f' as {place}' * bool(place)}"
        raise InputError(f"{path}: expected {expected}, found {what}: {why[0].lower()}{why[1:]}") from error
    return found


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _require_settings(found: Plan, path: Path) -> None:
    """Raise InputError for a value that a setting can't have; settings of other versions are left alone."""
    settings: dict[str, Value] = found.get("settings", {})
    for item in HYPERPARAMETERS:
        if item.name in settings:
            item.validate(settings[item.name], f"{path}: settings")
