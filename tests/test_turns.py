"""Threads that want the same: the shortest work first, equal work once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled
from ri_analysis.suite import open_suite
from ri_analysis.turns import Turns, alone


def waiting(turns: Turns, many: int) -> None:
    while len(turns._waiting) < many:
        time.sleep(0.001)


def test_the_shortest_that_waits_is_next() -> None:
    turns, order = Turns(), list[int]()

    def work(parts: int) -> None:
        with turns.taken(parts), turns.taken(parts):
            order.append(parts)

    threads = [threading.Thread(target=work, args=(parts,)) for parts in (3_000, 1_000, 2_000)]
    with turns.taken(5_000):
        for number, thread in enumerate(threads, 1):
            thread.start()
            waiting(turns, number)
    for thread in threads:
        thread.join()
    assert order == [1_000, 2_000, 3_000]


def test_long_work_is_let_pass_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, order, now = Turns(), list[str](), iter([0.0, 0.0, 100.0])
    monkeypatch.setattr("ri_analysis.turns.time.monotonic", lambda: next(now))

    def work(name: str, parts: int) -> None:
        with turns.taken(parts):
            order.append(name)

    threads = [threading.Thread(target=work, args=each) for each in (("long", 4_000), ("late", 10))]
    with turns.taken(1):
        for number, thread in enumerate(threads, 1):
            thread.start()
            waiting(turns, number)
    for thread in threads:
        thread.join()
    assert order == ["long", "late"]  # 0 s + 4,000 × 0.02 s comes before 100 s + 10 × 0.02 s


def test_equal_work_waits_and_may_give_up() -> None:
    looked: list[float] = []

    def give_up() -> None:
        looked.append(time.monotonic())
        raise Cancelled("work")

    with alone("a"), alone("b"), ThreadPoolExecutor(1) as pool:

        def second() -> None:
            with alone("a", give_up):
                pytest.fail("it is under way")

        with pytest.raises(Cancelled):
            pool.submit(second).result(10)
    assert len(looked) == 1
    with alone("a", give_up):
        pass
    assert len(looked) == 1


def test_what_several_sessions_ask_at_once_is_encoded_once(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    other = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")  # as of a background job
    encoded: list[str] = []
    for each in (one, other):
        whole, tower = each.encoder.features_of_many, each.encoder

        def counted(weights, sets, *, source="", progress=None, whole=whole):  # type: ignore[no-untyped-def]
            encoded.append(source)
            time.sleep(0.05)
            return whole(weights, sets, source=source, progress=progress)

        monkeypatch.setattr(tower, "features_of_many", counted)
    recipe = one.recipe("averaging")
    start = threading.Barrier(6)

    def session(number: int) -> str:
        start.wait()
        return (one, other)[number % 2].measure(recipe).table.to_json()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(session, range(6)))
    assert len(set(found)) == 1
    assert len(encoded) == len(set(encoded)) == 5  # three experts, the pretrained model, the merge
