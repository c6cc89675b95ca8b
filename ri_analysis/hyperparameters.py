"""Hyperparameters are declared once, beside the method; flags, widgets, sweeps and validation read the declaration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ri_analysis.errors import InputError

Value = float | int | str


@dataclass(frozen=True)
class Hyperparameter:
    """One declared hyperparameter.

    `name` is what it is called on the command line, `label` what readers call it ("learning rate"; by default its name
    in words), `unit` what its numbers count or are in ("images"), and `meaning` one line of help. `low` and `high` are
    the allowed range and `sweep` the range worth looking at (it defaults to the allowed one); `choices` replaces the
    range for a named option, and `titles` says the choices in words; without them a text as the default means any text.
    `log` asks widgets and sweeps for a logarithmic scale.
    """

    name: str
    meaning: str
    default: Value
    low: float = -math.inf
    high: float = math.inf
    sweep: tuple[float, float] | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    log: bool = False
    label: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name.replace("_", " "))

    @property
    def heading(self) -> str:
        """What stands above its widget or along its axis, with the unit: "Learning rate", "Batch size (images)"."""
        unit = f" ({self.unit})" if self.unit and self.unit not in self.label else ""
        return f"{self.label[0].upper()}{self.label[1:]}{unit}"

    @property
    def title(self) -> str:
        """Its label and, where that is another, its name: "learning rate (lr)"."""
        return self.label if self.label == self.name else f"{self.label} ({self.name})"

    @property
    def help(self) -> str:
        """What it means, in one sentence."""
        return f"{self.meaning[0].upper()}{self.meaning[1:]}: {self.range_text}."

    @property
    def titled(self) -> dict[str, str]:
        """Each choice with its title."""
        return dict(zip(self.choices, self.titles or self.choices, strict=True))

    @property
    def range_text(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if isinstance(self.default, str):
            return "a text"
        kind = "an integer" if isinstance(self.default, int) else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def validate(self, value: object, owner: str) -> Value:
        """Return `value` in the declared type. Raises InputError that names `owner`, the range and the value."""
        problem = InputError(f"{owner}: {self.name} must be {self.range_text}, found {value!r}")
        if self.choices:
            if value not in self.choices:
                raise problem
            return str(value)
        if isinstance(self.default, str):
            return str(value)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise problem from None
        if not math.isfinite(number) or not self.low <= number <= self.high:
            raise problem
        if isinstance(self.default, int):
            if number != int(number):
                raise problem
            return int(number)
        return number


def complete(declared: Sequence[Hyperparameter], given: Mapping[str, object], owner: str) -> dict[str, Value]:
    """Return every declared hyperparameter with its given or default value, in the declared order.

    Raises InputError for a name that is not declared or a value out of range.
    """
    names = [item.name for item in declared]
    for name in given:
        if name not in names:
            raise InputError(f"{owner}: unknown hyperparameter {name!r}; {suggest(name, names)}")
    return {item.name: item.validate(given.get(item.name, item.default), owner) for item in declared}


def suggest(name: str, known: Sequence[str]) -> str:
    """Return the words that end an error about an unknown name: the near match, or all that is known."""
    near = get_close_matches(name, known, n=1)
    listing = ", ".join(known) or "none"
    return f"did you mean {near[0]!r}? (known: {listing})" if near else f"known: {listing}"
