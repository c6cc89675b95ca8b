from __future__ import annotations

import pytest

from ri_analysis.memory import Recent


def test_what_was_used_longest_ago_goes() -> None:
    held: Recent[str, int] = Recent(2)
    held.put("a", 1)
    held.put("b", 2)
    assert held.get("a") == 1
    held.put("c", 3)
    assert (held.get("a"), held.get("b"), held.get("c")) == (1, None, 3)


def test_values_are_held_up_to_the_budget() -> None:
    held: Recent[str, int] = Recent(10)
    for name, size in (("a", 4), ("b", 4), ("c", 7)):
        held.put(name, size, size)
    assert [held.get(name) for name in "abc"] == [None, None, 7]
    held.put("d", 11, 11)  # too large: the others stay
    assert (held.get("c"), held.get("d")) == (7, None)
    held.put("c", 12, 12)  # and what is under its key is never an older value
    assert held.get("c") is None


@pytest.mark.parametrize(("budget", "most"), [(1000, 3), (1 << 30, 8)])
def test_no_more_than_most_are_held_however_small(budget: int, most: int) -> None:
    held: Recent[int, int] = Recent(budget, most)
    for number in range(20):
        held.put(number, number)
    assert len(held) == most
    assert held.get(19) == 19
