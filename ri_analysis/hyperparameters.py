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

    `low` and `high` are the allowed range and `sweep` the range worth looking at (it defaults to the allowed one);
    `choices` replaces the range for a named option; without them a text as the default means any text. `log` asks
    widgets and sweeps for a logarithmic scale.
    """

    name: str
    meaning: str
    default: Value
    low: float = -math.inf
    high: float = math.inf
    sweep: tuple[float, float] | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    log: bool = False

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
