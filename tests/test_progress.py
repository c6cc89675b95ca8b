from __future__ import annotations

import pytest

from ri_analysis.progress import Counter, Pace, Progress


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


def test_a_pace_never_shows_less_than_before(clock: Clock) -> None:
    pace = Pace()
    pace(50, 100)
    clock.now += 1
    pace(60, 200)  # the total has grown
    assert (pace.counts, pace.share) == ((50, 100), 0.5)
    pace(150, 200)
    assert pace.share == 0.75
    pace(0, 0)
    assert pace.share == 0.75
