"""Hyperparameters are declared once, beside the method; flags, widgets, sweeps and validation read the declaration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    `log` asks widgets and sweeps for a logarithmic scale. `each` makes it a choice of several: it declares one of them,
    and the value is their text, separated by commas, as on the command line (see `listed`). `zero` says, before the
    label, what 0 stands for where it is not none: "automatic".
    """

    name: str
    meaning: str
    default: Value
    low: float = -math.inf
    high: float = math.inf
    sweep: tuple[float, float] | None = None
    step: float | None = None
    choices: Sequence[str] = ()
    titles: Sequence[str] = ()
    each: Hyperparameter | None = None
    log: bool = False
    label: str = ""
    unit: str = ""
    zero: str = ""

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
        """What it means, which values are allowed, and the default."""
        meaning = f"{self.meaning[0].upper()}{self.meaning[1:]}"
        if self.choices or self.each is not None or isinstance(self.default, str):
            return f"{meaning}."
        return f"{meaning}: {self.range_text}, {_text(self.default)} by default."

    @property
    def titled(self) -> dict[str, str]:
        """Each choice with its title."""
        return dict(zip(self.choices, self.titles or self.choices, strict=True))

    @property
    def range_text(self) -> str:
        """The allowed values in words."""
        if self.each is not None:
            return f"one or more, separated by commas, each {self.each.range_text}"
        if self.choices:
            return "one of " + ", ".join(filter(None, self.choices))
        if isinstance(self.default, str):
            return "a text"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        ends = [number for number in (self.low, self.high) if math.isfinite(number)]
        return f"{kind} from {_text(self.low)} to {_text(self.high)}" if len(ends) == 2 else kind

    def validate(self, value: object, owner: str) -> Value:
        """Return `value` in the declared type. Raises InputError that names `owner`, the range and the value."""
        problem = InputError(f"{owner}: {self.name} must be {self.range_text}, found {value!r}")
        if self.each is not None:
            if not listed(value):
                raise problem
            several = replace(self.each, name=self.name)
            found = (str(several.validate(part, owner)).removesuffix(".0") for part in listed(value))
            return ",".join(dict.fromkeys(found))
        if self.choices:
            if value not in self.choices:
                near = get_close_matches(str(value), self.choices, n=1)
                raise InputError(f"{problem}; did you mean {near[0]!r}?") if near else problem
            return str(value)
        if isinstance(self.default, str):
            return str(value)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise problem from None
        if not math.isfinite(number) or not self.low <= number <= self.high:
            raise problem
        if isinstance(self.default, int):
            if number != int(number):
                raise problem
            return int(number)
        return number


def listed(value: object) -> list[str]:
    """Return the texts of which the value of a choice of several consists."""
    return [part for text in str(value).split(",") if (part := text.strip())]


def _text(number: Value) -> str:
    """Return a bound or a default in words."""
    if isinstance(number, str):
        return number
    text = f"{int(number):,}" if number == int(number) else f"{number:g}".replace("e-0", "e-")
    return text.replace("-", "−")


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
    """Return the words that end an error about an unknown name: the near match, and all that is known."""
    near = get_close_matches(name, known[:1000], n=1)  # to compare with more takes long
    listing = ", ".join(filter(None, known)) or "none"
    return f"did you mean {near[0]!r}? (known: {listing})" if near else f"known: {listing}"
