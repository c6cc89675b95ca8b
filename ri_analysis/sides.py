"""Before and after: one thing twice, the second of which may be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

BEFORE, AFTER = "before", "after"
STAGES = (BEFORE, AFTER)

T_co = TypeVar("T_co", covariant=True)
Other = TypeVar("Other")


@dataclass(frozen=True)
class Sides(Generic[T_co]):
    """Something of the original experts, and the same after RI: None where the suite has no RI-adapted experts yet."""

    before: T_co
    after: T_co | None = None

    @classmethod
    def of(cls, found: Iterable[T_co]) -> Self:
        """Return the sides in the order of `all`: one, or two."""
        return cls(*found)

    @property
    def all(self) -> tuple[T_co, ...]:
        """What there is: before, and after where it is not missing."""
        return (self.before,) if self.after is None else (self.before, self.after)

    @property
    def last(self) -> T_co:
        """After, or before where there is no after."""
        return self.all[-1]

    @property
    def stages(self) -> dict[str, T_co]:
        """What there is, by "before" and "after"."""
        return dict(zip(STAGES, self.all, strict=False))

    def __contains__(self, item: object) -> bool:
        return item in self.all

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def map(self, function: Callable[[T_co], Other]) -> Sides[Other]:
        """Return what a function makes of each side."""
        return Sides(*map(function, self.all))

    def zip(self, other: Sides[Other]) -> Sides[tuple[T_co, Other]]:
        """Return both sides' pairs with another's. Raises ValueError where one has an after and the other has not."""
        return Sides(*zip(self.all, other.all, strict=True))
