"""Labels: what the data says they are, and which row of a head each of its classes is.

The rules stand in docs/formats.md, "Labels and class names".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ri_analysis import limits
from ri_analysis.errors import InputError, listing
from ri_analysis.suite.images import ImageSet, Indices, Relabelled
from ri_analysis.suite.spec import NAMES, ORDER

_JOINING = ("and", "or")  # words that another list of the same names may write as "&" and "/"


# --- what the data says -----------------------------------------------------------------------------------


def read_labels(what: str, values: object, count: int) -> tuple[Indices, tuple[str, ...]]:
    """Return the labels (count,) int64 that `values` are, and the class names where they are names, else ().

    Names are numbered in the order of `sorted_names`; floats that are whole numbers will do. `what` is what errors
    call them. Raises InputError for a missing, negative, too large or broken label, naming the places.
    """
    found = np.asarray(values)
    wanted = f"{what} must be {count:,} non-negative integers or class names"
    if found.shape != (count,):
        raise InputError(f"{wanted}, found {found.dtype} of shape {found.shape}")
    if found.dtype.kind == "O":
        found = _of_one_kind(found, wanted)
    if found.dtype.kind == "U" or (count and isinstance(found[0], str)):
        texts = [str(name) for name in found]
        _refuse(wanted, np.array([not text.strip() for text in texts], bool), lambda _: "an empty name")
        names = sorted_names(texts)
        limits.require("name-characters", max(map(len, names), default=0), what)
        place = {name: index for index, name in enumerate(names)}
        return np.array([place[name] for name in texts], np.int64), tuple(names)
    if found.dtype.kind == "b":
        found = found.astype(np.uint8)
    if found.dtype.kind not in "uif":
        raise InputError(f"{wanted}, found {found.dtype}")
    with np.errstate(invalid="ignore"):
        wrong = (found < 0) | (found >= 2**63) | (found % 1 != 0)
    _refuse(wanted, wrong, lambda index: str(found[index]))
    return found.astype(np.int64), ()


def _of_one_kind(found: npt.NDArray[np.object_], wanted: str) -> npt.NDArray[np.generic]:
    """Return Python objects that are all texts as they are, and others as an array of numbers."""
    _refuse(wanted, np.array([value is None for value in found], bool), lambda _: "none")
    texts = np.array([isinstance(value, str) for value in found], bool)
    if texts.any():
        _refuse(wanted, ~texts, lambda index: repr(found[index]))
        return found  # an array of numpy's texts would be as wide everywhere as the longest
    _refuse(
        wanted,
        np.array([not isinstance(value, int | float | np.number | np.bool_) for value in found], bool),
        lambda index: type(found[index]).__name__,
    )
    return np.array(found.tolist())


def _refuse(wanted: str, wrong: npt.NDArray[np.bool_], say: Callable[[int], str]) -> None:
    """Raise InputError naming the rows that are `wrong`, with what one of them holds."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        where = (
            "every row: an unlabelled split?" if len(rows) == len(wrong) else f"row {listing(list(map(str, rows)), 5)}"
        )
        raise InputError(f"{wanted}, found {say(int(rows[0]))} in {where}")


def sorted_names(names: Iterable[str]) -> list[str]:
    """Return the different names, sorted: as numbers where all are whole numbers, else as text."""
    different = sorted(set(names))
    return sorted(different, key=int) if _are_numbers(different) else different


def _are_numbers(names: Sequence[str]) -> bool:
    return bool(names) and all(name.isascii() and name.isdigit() for name in names)


# --- which row of a head that is --------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """The rows of a head: how many, their class names (empty where nobody gives them), and what says so.

    `source` is what errors call the giver of the names, `table` the table of the suite file that may say `labels`.
    """

    count: int
    names: tuple[str, ...]
    source: str
    table: str


def by_rows(images: ImageSet, rows: Rows, how: str = NAMES) -> ImageSet:
    """Return labelled `images` with the rows of the head that they belong to as labels.

    `how` is NAMES where class names are matched, or ORDER where the n-th class of the data is row n.
    Raises InputError for a class without a row, and where names leave open which row is meant.
    """
    assert images.labels is not None  # the caller read them with labels
    own, remarks = images.classes, list[str]()
    labels = images.labels
    if own and labels.max() >= len(own):
        raise InputError(f"{images.source}: has {len(own)} class names, but labels up to {labels.max()}")
    if own and how == NAMES and own != rows.names:
        places, remark = _Match(images.source, own, frozenset(np.unique(labels).tolist()), rows).places()
        labels = np.array(places, np.int64)[labels]
        remarks += [remark] if remark else []
    most = int(labels.max()) + 1
    if most > rows.count:
        raise InputError(
            f"{images.source}: labels go up to class {most - 1}, so at least {most} classes, "
            f"but the head of {rows.table} has {rows.count}"
        )
    absent = np.setdiff1d(np.arange(rows.count), labels)
    if len(absent):
        names = [rows.names[row] if rows.names else f"class {row}" for row in absent]
        remarks.append(f"{images.source}: no images of {len(absent)} of {rows.count} classes: {listing(names, 5)}")
    same = np.array_equal(labels, images.labels)
    if same and not remarks:
        return images
    return Relabelled(images, labels, own if same else rows.names, remarks)


@dataclass(frozen=True)
class _Match:
    """The class names of some data, those at `used` with images, against the rows of a head."""

    source: str
    own: tuple[str, ...]
    used: frozenset[int]
    rows: Rows

    def places(self) -> tuple[Sequence[int], str]:
        """Return the row of each class of the data, and what is to be remarked about it."""
        found = self._partners()
        missing = [index for index, row in enumerate(found) if row is None and index in self.used]
        if not missing:
            return [row or 0 for row in found], ""  # 0 where there are no images
        strange = all(row is None for row in found)
        if strange and _are_numbers(self.own) and not _are_numbers(self.rows.names):
            return self._numbered()
        straight = all(row in (None, index) for index, row in enumerate(found))
        if len(self.own) == self.rows.count and straight and self._worded_otherwise(missing):
            return range(self.rows.count), self._by_order(missing)
        raise InputError(self._without_partner(missing, strange))

    def _partners(self) -> list[int | None]:
        """Return the row of the same name for each class of the data; None where there is none."""
        exact, plain = dict[str, list[int]](), dict[str, list[int]]()
        for place, name in enumerate(self.rows.names):
            exact.setdefault(name, []).append(place)
            plain.setdefault(_plain(name), []).append(place)
        taken, found = dict[int, str](), list[int | None]()
        for name in self.own:
            same = exact.get(name) or plain.get(_plain(name)) or []
            if len(same) > 1:
                meant = ", ".join(repr(self.rows.names[row]) for row in same)
                raise InputError(
                    f"{self.source}: its class {name!r} matches several of {self.rows.source} ({meant}); use "
                    f"the same names{self._way_out()}"
                )
            row = same[0] if same else None
            if row is not None:
                if row in taken:
                    raise InputError(
                        f"{self.source}: its classes {taken[row]!r} and {name!r} both match "
                        f"{self.rows.names[row]!r} of {self.rows.source}; use the same names{self._way_out()}"
                    )
                taken[row] = name
            found.append(row)
        return found

    def _numbered(self) -> tuple[Sequence[int], str]:
        """Take names that are numbers as the numbers of rows: from 0 where there is a 0, from 1 up to the last row."""
        numbers, count = [int(name) for name in self.own], self.rows.count
        low, high = min(numbers), max(numbers)
        if len(set(numbers)) < len(numbers) or high > count or (low == 0 and high == count):
            raise InputError(
                f"{self.source}: expected classes numbered from 0 to {count - 1} or from 1 to {count}, as the head has "
                f"{count} rows, found {listing(self.own, 5)}" + (f" … {self.own[-1]}" if len(self.own) > 5 else "")
            )
        if low > 0 and high < count:
            raise InputError(
                f"{self.source}: classes are numbered from {low} to {high}, and the head has {count} rows: they may "
                f"count from 0 or from 1; add an empty class folder 0, or {count}, to say which" + self._way_out()
            )
        first = 1 if low else 0
        places = [number - first for number in numbers]
        as_text = list(self.own) == sorted(self.own)
        if as_text and not first and not self.rows.names:
            return places, ""
        said = f"{self.source}: class names are numbers, taken as rows of the head, counted from {first}"
        said += "" if as_text else " and not sorted as text, as ImageFolder does"
        return places, f"{said}: {self._pairs(range(len(places)), places)}"

    def _worded_otherwise(self, missing: Sequence[int]) -> bool:
        """Whether the names without a partner may be those at the same place of the other list, in other words."""
        if not self.rows.names or 2 * len(missing) > len(self.own):
            return True
        return all(_akin(self.own[index], self.rows.names[index]) for index in missing)

    def _by_order(self, missing: Sequence[int]) -> str:
        why = "its class names are worded differently" if self.rows.names else "the rows of its head have no names"
        return f"{self.source}: {why}, so the order decides: {self._pairs(missing, missing)}"

    def _pairs(self, classes: Sequence[int], places: Sequence[int]) -> str:
        names = self.rows.names or [f"row {row}" for row in range(self.rows.count)]
        pairs = [f"{self.own[index]} → {names[row]}" for index, row in zip(classes, places, strict=True)]
        return listing(pairs, 3)

    def _without_partner(self, missing: Sequence[int], strange: bool) -> str:
        quoted = listing([repr(self.own[index]) for index in missing], 5)
        if not self.rows.names:
            text = (
                f"has {len(self.own)} classes, the head of {self.rows.table} has {self.rows.count} rows without names"
            )
            return f"{self.source}: {text}; name the rows by 'classes'{self._way_out()}"
        theirs = f"of {self.rows.source} ({listing([repr(name) for name in self.rows.names], 5)})"
        if strange:
            text = f"none of its {len(self.own)} classes ({quoted}) matches any of the {self.rows.count} {theirs}"
        else:
            text = f"its other classes have a match, but none {theirs} matches its {quoted}"
        return f"{self.source}: {text}; use the same names{self._way_out()}"

    def _way_out(self) -> str:
        return f', or say `labels = "{ORDER}"` in {self.rows.table} if the n-th class of the data is row n of the head'


def _words(name: str) -> list[str]:
    """Return a name's words in lower case, without what joins them; numbers without leading zeros."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    letters = "".join(" " if unicodedata.category(letter)[0] in "PSZC" else letter for letter in folded)
    words = [word.lstrip("0") or "0" if _are_numbers([word]) else word for word in letters.split()]
    return [word for word in words if word not in _JOINING] or words or [folded.strip()]


def _plain(name: str) -> str:
    return "".join(_words(name))


def _akin(one: str, two: str) -> bool:
    """Whether all words of one of the names occur in the other, as in "AnnualCrop" and "annual crop land"."""
    return _occurs(one, two) or _occurs(two, one)


def _occurs(one: str, two: str) -> bool:
    whole, words = _plain(two), set(_words(two))
    return all(word in words if re.search(r"\d", word) else word in whole for word in _words(one))
