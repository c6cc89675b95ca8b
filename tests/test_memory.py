from __future__ import annotations

import pytest

from ri_analysis.memory import Recent


def test_what_was_used_longest_ago_goes() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_values_are_held_up_to_the_budget() -> None:
    recent: Recent[str, int] = Recent(10)
    for name, size in (("a", 4), ("b", 4), ("c", 7)):
        recent.put(name, size, size)
    assert [recent.get(name) for name in "abc"] == [None, None, 7]
    recent.put("d", 11, 11)  # too large: the others stay
    assert (recent.get("c"), recent.get("d")) == (7, None)
    recent.put("c", 12, 12)  # and what is under its key is never an older value
    assert recent.get("c") is None


@pytest.mark.parametrize(("budget", "most"), [(1000, 3), (1 << 30, 8)])
def test_no_more_than_most_are_held_however_small(budget: int, most: int) -> None:
    recent: Recent[int, int] = Recent(budget, most)
    for number in range(20):
        recent.put(number, number)
    assert len(recent) == most
    assert recent.get(19) == 19
