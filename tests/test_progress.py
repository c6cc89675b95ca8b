from __future__ import annotations

import pytest

from ri_analysis.progress import Counter, Pace, Parts, Progress


class Clock:
    """Takes the place of time.monotonic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("ri_analysis.progress.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def counted(total: int) -> tuple[Counter, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    return Counter(lambda done, of: seen.append((done, of)), total), seen


def test_passes_are_one_count() -> None:
    counter, seen = counted(10)
    counter.within(2, 4)
    counter.advance(4)
    counter.alive("anything")
    counter.within(3, 6)
    counter.advance(6)
    assert seen == [(2, 10), (4, 10), (4, 10), (7, 10), (10, 10)]


def test_a_count_never_runs_backwards_nor_beyond_its_end() -> None:
    counter, seen = counted(5)
    for step in (3, 1, 0):
        counter.within(step)
    counter.alive()
    counter.within(9)
    assert seen == [(3, 5)] * 4 + [(5, 5)]


def test_passes_that_come_first_add_their_size() -> None:
    counter, seen = counted(6)
    for size in (4, 2):
        learning: Progress = counter.first()
        learning(1, size)
        learning(size, size)
    counter.within(3)
    counter.advance(6)
    assert seen == [(1, 10), (4, 10), (5, 12), (6, 12), (9, 12), (12, 12)]


def test_without_progress_nothing_is_said() -> None:
    counter = Counter(None, 3)
    counter.first()(1, 2)
    counter.advance(3)
    assert counter.done == 4


def test_an_even_pace_tells_the_time_left(clock: Clock) -> None:
    pace = Pace()
    assert (pace.share, pace.seconds_left) == (0, None)
    pace(0, 100)
    assert pace.seconds_left is None
    for done in range(1, 41):
        clock.now += 2
        pace(done, 100)
        assert pace.seconds_left == pytest.approx(2 * (100 - done))


def test_what_was_done_before_counts_for_nothing_in_the_pace(clock: Clock) -> None:
    pace = Pace()
    pace(80, 100)  # resumed
    clock.now += 5
    pace(90, 100)
    assert pace.seconds_left == pytest.approx(5)


def test_the_time_left_is_smoothed(clock: Clock) -> None:
    pace = Pace()
    pace(0, 1000)
    for done in range(1, 101):
        clock.now += 1
        pace(done, 1000)
    steady = pace.seconds_left
    assert steady == pytest.approx(900)
    clock.now += 5  # one image takes five times as long
    pace(101, 1000)
    assert 1.05 * steady < pace.seconds_left < 1.25 * steady
    for done in range(102, 202):  # twice as fast from now on: it is believed after a while
        clock.now += 0.5
        pace(done, 1000)
    assert pace.seconds_left == pytest.approx(400, rel=0.25)


def test_a_pace_whose_total_grows_waits_until_its_share_is_true_again(clock: Clock) -> None:
    pace = Pace()
    pace(50, 100)
    clock.now += 1
    pace(60, 200)
    assert (pace.counts, pace.share, pace.seconds_left) == ((60, 200), 0.5, 14)
    pace(150, 200)
    assert pace.share == 0.75
    pace(0, 0)  # alive, and nothing more
    assert (pace.counts, pace.share) == ((150, 200), 0.75)


SEQUENCES = {
    "one piece": [(0, 9), (4, 9), (9, 9)],
    "alive before anything is known": [(0, 0), (0, 0), (3, 9), (0, 0), (9, 9)],
    "several in a row": [(0, 4), (4, 4), (0, 9), (5, 9), (9, 9), (1, 2), (2, 2)],
    "a quick one first": [(1, 1), (0, 900), (900, 900)],
    "one that breaks off": [(5, 10), (1, 3), (3, 3)],
    "a total that grows": [(5, 10), (10, 10), (10, 40), (40, 40)],
    "a total that shrinks": [(5, 100), (6, 20), (20, 20)],
    "nothing to do": [(0, 0)],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_is_shown_never_falls(name: str) -> None:
    pace, counts, shares = Pace(), [0], [0.0]
    for done, total in SEQUENCES[name]:
        pace(done, total)
        counts.append(pace.counts[0])
        shares.append(pace.share)
        assert 0 <= pace.counts[0] <= pace.counts[1]
    assert counts == sorted(counts)
    assert shares == sorted(shares)
    assert shares[-1] == (0 if name == "nothing to do" else 1)


def test_pieces_in_a_row_add_up() -> None:
    pace = Pace()
    for done, total in SEQUENCES["several in a row"]:
        pace(done, total)
    assert pace.counts == (15, 15)


def parts_of(count: int) -> tuple[Parts, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    return Parts(lambda done, total: seen.append((done, total)), count), seen


def said(parts: Parts, place: int, done: int, total: int) -> None:
    report = parts.part(place)
    assert report is not None
    report(done, total)


def test_parts_count_together_and_those_to_come_are_taken_for_as_large() -> None:
    parts, seen = parts_of(3)
    first, second, third = (parts.part(place) for place in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    first(5, 10)
    first(10, 10)
    second(1, 40)
    second(40, 40)
    third(2, 4)
    third(4, 4)
    assert seen == [(5, 30), (10, 30), (11, 75), (50, 75), (52, 54), (54, 54)]


def test_a_part_that_had_nothing_to_do_counts_for_nothing() -> None:
    parts, seen = parts_of(2)
    said(parts, 1, 3, 6)
    assert seen == [(3, 6)]


def test_pieces_of_a_part_add_up_and_parts_may_run_side_by_side() -> None:
    parts, seen = parts_of(2)
    left, right = parts.part(0), parts.part(1)
    assert left is not None
    assert right is not None
    left(4, 4)
    right(1, 10)
    left(2, 6)  # another piece
    right(10, 10)
    left(6, 6)
    assert seen == [(4, 8), (5, 14), (7, 20), (16, 20), (20, 20)]


def test_a_part_that_is_only_alive_says_no_more() -> None:
    parts, seen = parts_of(2)
    said(parts, 0, 0, 0)
    assert seen == [(0, 0)]
    assert Parts(None, 2).part(0) is None
