"""How numbers are written, in hovers and on pages alike."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from ri_analysis.hyperparameters import Hyperparameter, Value
from ri_analysis.intervals import clear
from ri_analysis.progress import Pace

NO_CLEAR_CHANGE = "no clear change"
_EXPONENT = re.compile(r"(?<=e)(-?)\+?0*(?=\d)")


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage, for instance "71.3%"."""
    return "not defined" if math.isnan(share) else f"{100 * share:.{digits}f}%"


def percent_range(low: float, high: float) -> str:
    """Return an interval of shares, for instance "69.8–72.8%"."""
    return "not defined" if math.isnan(low) else f"{100 * low:.1f}–{100 * high:.1f}%"


def points(change: float) -> str:
    """Return a change of a share in percentage points, signed."""
    return f"{_in_points(change)} points"


def points_range(low: float, high: float) -> str:
    """Return an interval of changes in percentage points, signed, without the unit."""
    return f"{_in_points(low)} to {_in_points(high)}"


def nats(value: float) -> str:
    """Return a divergence, for instance "0.213 nats"."""
    return f"{_plain(value)} nats"


def nats_range(low: float, high: float) -> str:
    """Return an interval of divergences, without the unit."""
    return f"{_plain(low)}–{_plain(high)}"


def nats_change(value: float) -> str:
    """Return a change of a divergence, signed."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{_plain(abs(value))} nats"


def nats_change_range(low: float, high: float) -> str:
    """Return an interval of changes of a divergence, signed, without the unit."""
    return f"{nats_change(low)} to {nats_change(high)}".replace(" nats", "")


def if_clear(change: str, low: float, high: float) -> str:
    """Return a change that was put into words, or that there is none where its interval includes 0."""
    return change if clear(low, high) else NO_CLEAR_CHANGE


def times_less(before: float, after: float) -> str:
    """Return ", 4.2 times less" where a quantity fell, nothing where it did not or is gone."""
    return f", {before / after:.1f} times less" if before > after > 0 else ""


def setting(value: object) -> str:
    """Return a hyperparameter's value as it is written down."""
    return _EXPONENT.sub(r"\1", f"{value:.6g}") if isinstance(value, float) else str(value)


def exact(value: object) -> str:
    """Return a hyperparameter's value as `setting` does, with the digits it takes to be read again: twelve at most.

    A slider's 0.30000000000000004 is 0.3.
    """
    text = setting(value)
    return text if not isinstance(value, float) or float(text) == value else f"{value:.12g}"


def significant(value: float, digits: int) -> str:
    """Return a number with so many significant digits and no exponent: "0.0042", "120"."""
    return np.format_float_positional(value, digits, unique=False, fractional=False, trim="-")


def signed(value: float, form: str = "g") -> str:
    """Return a number that may be negative, with the minus sign U+2212 and as few zeros in an exponent as can be."""
    return _EXPONENT.sub(r"\1", f"{value:{form}}").replace("-", "−")


def saved(number: int, of: int | None = None) -> str:
    """Return how many results are saved already: "none saved", "3 saved", "all saved"."""
    return "none saved" if number == 0 else "all saved" if number == of else f"{number:,} saved"


def chosen(item: Hyperparameter, value: Value) -> str:
    """Return a setting in words: "scale λ = 0.3", "150 steps per expert", "KL divergence", "whole pool"."""
    if item.titles:
        return item.titled.get(str(value), str(value))
    if item.zero and value == 0:
        return f"{item.zero} {item.label}"
    if item.unit and item.label.startswith(item.unit):
        return count(int(value), item.unit.removesuffix("s")) + item.label.removeprefix(item.unit)
    equals = "= " if len(item.label.split()[-1]) == 1 else ""  # a symbol
    number = signed(value) if isinstance(value, float) else str(value)
    return f"{item.label} {equals}{number} {item.unit}".rstrip()


def settings(declared: Iterable[Hyperparameter], values: Mapping[str, Value]) -> list[str]:
    """Return each value as `chosen` says it; one that is not declared, of another version, by its name."""
    items = {item.name: item for item in declared}
    return [chosen(items.get(name, Hyperparameter(name, name, value)), value) for name, value in values.items()]


def count(number: int, noun: str) -> str:
    """Return "1 image", "2,048 images"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def how_far(work: str, pace: Pace, note: str = "", unit: str = "") -> str:
    """Return how far some work is: counts, the time left and what is under way, as far as they are known."""
    (done, total), left = pace.counts, pace.seconds_left
    counts = f"{done:,} of {total:,} {unit}".rstrip() if total else ""
    time_left = "" if left is None or done >= total else f"about {duration(left)} left"
    text = ", ".join(filter(None, (counts, time_left)))
    said = " · ".join(filter(None, (text, note)))
    return f"{work}: {said}" if time_left else f"{work}: {said} …" if said else f"{work} …"


def _in_points(change: float) -> str:
    # What rounds to nothing is +0.0, not −0.0.
    return f"{round(100 * change, 1) + 0.0:+.1f}".replace("-", "−")


def _plain(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
