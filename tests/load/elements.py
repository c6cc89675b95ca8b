"""Whether two elements of pages show the same: the same texts, and the same numbers up to the last digits.

An image's outputs depend in their last digits on the batch that it was in, and the batch on what was known before. Two
numbers in texts are the same that differ by a unit of their last digit: one may have been rounded the other way.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.json_format import MessageToDict
from streamlit.proto.Element_pb2 import Element

FIGURE, METRIC = "plotly_chart", "metric"
SAME = 1e-4  # between numbers of figures, of themselves and in all
_NUMBER = re.compile(r"(?<![\w.#])\d+(?:\.(\d+))?(?!\w)")
_LONGEST = 10_000  # letters of a text in which numbers are looked for: longer ones are pictures
_MARK = "\N{REPLACEMENT CHARACTER}"


def kind(element: Element) -> str | None:
    """Return FIGURE or METRIC for an element that is the same whenever the same recipe is asked for, else None."""
    found = str(element.WhichOneof("type"))
    return found if found in (FIGURE, METRIC) else None


@dataclass(frozen=True)
class Shown:
    """What an element shows, as it was sent."""

    kind: str
    sent: bytes

    @classmethod
    def of(cls, element: Element) -> Shown:
        """Take over a figure, without its name, which is a digest of all its digits, or a metric."""
        found = kind(element)
        assert found is not None
        bare = Element.FromString(element.SerializeToString())
        if found == FIGURE:
            bare.plotly_chart.ClearField("id")
        return cls(found, bare.SerializeToString())

    @cached_property
    def _read(self) -> tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The texts, with a mark in each number's place; the numbers; and how far each may be from another."""
        element = Element.FromString(self.sent)
        content = MessageToDict(getattr(element, self.kind))
        if self.kind == FIGURE:
            content["spec"] = json.loads(element.plotly_chart.spec)
        numbers: list[float] = []
        units: list[float] = []
        texts = json.dumps(_marked(content, numbers, units))
        return texts, np.array(numbers, np.float64), np.array(units, np.float64)

    def distance(self, other: Shown) -> float:
        """Return the largest difference between the numbers of both, 1 being the last that counts as none.

        Infinite where they do not show the same things.
        """
        if self == other:
            return 0.0
        apart = self._apart(other)
        return float("inf") if apart is None else float(apart.max(initial=0))

    def difference(self, other: Shown) -> str:
        """Say where both differ the most."""
        (texts, one, _), (others, two, _) = self._read, other._read
        apart = self._apart(other)
        if apart is not None:
            place = int(apart.argmax())
            return (
                f"{one[place]:.7g}, not {two[place]:.7g}, and {int((apart > 1).sum()) - 1} more of {len(one)} numbers"
            )
        start = next((at for at, pair in enumerate(zip(texts, others, strict=False)) if pair[0] != pair[1]), 0)
        return f"{texts[max(0, start - 40) : start + 40]!r}, not {others[max(0, start - 40) : start + 40]!r}"

    def _apart(self, other: Shown) -> npt.NDArray[np.float64] | None:
        (texts, one, units), (others, two, _) = self._read, other._read
        if self.kind != other.kind or texts != others or len(one) != len(two):
            return None
        apart = np.abs(one - two)
        apart[np.isnan(one) & np.isnan(two)] = 0
        allowed = np.where(units > 0, 1.01 * units, SAME * (1 + np.maximum(np.abs(one), np.abs(two))))
        return np.nan_to_num(apart / allowed, nan=np.inf)

    def title(self) -> str:
        """Return what a message calls the element."""
        element = Element.FromString(self.sent)
        return f"figure ({element.plotly_chart.alt[:80]})" if self.kind == FIGURE else element.metric.label


def _marked(content: Any, numbers: list[float], units: list[float]) -> Any:
    """Return JSON with a mark in each number's place; append the numbers, and their last digit's unit, 0 for all."""
    if isinstance(content, dict) and {"dtype", "bdata"} <= content.keys():
        values = np.frombuffer(b64decode(content["bdata"]), content["dtype"])
        numbers += values.astype(float).tolist()
        units += [0.0] * len(values)
        return [_MARK, len(values), content.get("shape")]
    if isinstance(content, dict):
        return {name: _marked(value, numbers, units) for name, value in content.items()}
    if isinstance(content, list):
        return [_marked(value, numbers, units) for value in content]
    if isinstance(content, str) and len(content) < _LONGEST:

        def marked(found: re.Match[str]) -> str:
            numbers.append(float(found[0]))
            units.append(10.0 ** -len(found[1] or ""))
            return _MARK

        return _NUMBER.sub(marked, content)
    if isinstance(content, int | float) and not isinstance(content, bool):
        numbers.append(float(content))
        units.append(0.0)
        return _MARK
    return content
