"""Answers that come with a suite, and results that are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ri_analysis.engine import Evaluator
from ri_analysis.engine.results import kept_table, packed_table
from ri_analysis.engine.shipped import FILE, Made, Shippable, Shipped, write_shipped
from ri_analysis.engine.store import Record, Store
from ri_analysis.errors import InputError

MADE = Made("2026-11-28", "0.1.0", "2.0", "Intel(R) Xeon(R) CPU @ 2.20GHz", 2, "Linux x86_64")


def numbers(value: float) -> dict[str, np.ndarray]:
    return {"values": np.array([value], np.float32)}


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / FILE
    write_shipped(path, [Shippable("a", None, numbers(1)), *(Shippable("n", n, numbers(n)) for n in (4, 16))], MADE)
    return path


def test_the_workspaces_own_answers_come_first(shipped: Path, workspace: Path, capsys: pytest.CaptureFixture[str]):
    store = Store(workspace, shipped=shipped)
    assert store.is_shipped("a")
    assert store.get("a") == numbers(1)
    assert store.get("a") == numbers(1)
    assert capsys.readouterr().err.count("28 Nov 2026, ri-analysis 0.1.0, 2-core Intel Xeon @ 2.20GHz") == 1
    store.put("a", numbers(2))
    assert store.get("a") == numbers(2)
    assert not store.is_shipped("a")
    assert not store.has("b")


@pytest.mark.parametrize(("own", "asked", "count"), [(8, 6, 8), (8, 16, 16), (2, 3, 4), (32, 4, 32), (2, 64, 16)])
def test_the_nearest_subset_is_the_own_one_where_that_is_enough(
    shipped: Path, workspace: Path, own: int, asked: int, count: int
):
    store = Store(workspace, shipped=shipped)
    store.put_nested("n", own, numbers(own))
    assert store.nested("n", asked) == (count, numbers(count))
    assert store.is_shipped("n", asked) == (count != own and count >= asked)


def test_a_file_that_is_damaged_is_said_and_left_out(
    shipped: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    shipped.write_bytes(shipped.read_bytes()[:-40])
    store = Store(workspace, shipped=shipped)
    assert store.get("a") is None
    assert store.nested("n", 4) is None
    assert "measured again" in capsys.readouterr().err
    assert Shipped(shipped.with_name("none")).made is None


def table_file(path: Path, arrays: dict[str, np.ndarray], **made: object) -> Path:
    """A file of one answer, "a", soundly sealed, whatever it holds."""
    write_shipped(path, [Shippable("a", None, arrays)], replace(MADE, **made))  # type: ignore[arg-type]
    return path


def packed(end: int) -> np.ndarray:
    """A table of one text, "abc", said to end at `end`."""
    sound, said = (np.array([0, place], np.int32).tobytes() for place in (3, end))
    data = packed_table(pd.DataFrame({"x": ["abc"]})).tobytes()
    at = data.rindex(sound)
    return np.frombuffer(data[:at] + said + data[at + len(said) :], np.uint8)


def test_a_table_in_it_that_would_end_the_process_is_read_by_a_child_first(tmp_path: Path, workspace: Path):
    kept = kept_table("table")
    sound = Store(workspace, shipped=table_file(tmp_path / "sound.arrow", {"table": packed(3)}))
    assert list(pd.DataFrame(kept.find(sound, "a"))["x"]) == ["abc"]
    bad = Store(workspace, shipped=table_file(tmp_path / "bad.arrow", {"table": packed(1 << 30)}))
    assert kept.find(bad, "a") is None
    assert bad.shipped is not None
    assert "bad.arrow: expected results that come with a suite, found damaged data" in bad.shipped.problem


@pytest.mark.parametrize("made", [{"day": "today"}, {"cores": [1]}])
def test_what_it_says_of_itself_is_not_taken_on_trust(tmp_path: Path, made: dict[str, object]):
    shipped = Shipped(table_file(tmp_path / FILE, numbers(1), **made))
    assert shipped.made is None
    assert shipped.get("a") is None
    assert FILE in shipped.problem


def test_an_answer_of_another_kind_is_one_message(tmp_path: Path, workspace: Path):
    store = Store(workspace, shipped=table_file(tmp_path / FILE, numbers(1)))
    with pytest.raises(InputError, match=r"answers\.arrow: expected a result of the kind table, found damaged data"):
        kept_table("table").find(store, "a")


def test_outcomes_of_other_images_are_one_message(evaluator: Evaluator, tiny: Path, workspace: Path):
    request = evaluator.requests(evaluator.recipe("averaging"))[-1]
    name = evaluator.measurement.name(request.model, "outcome", request.sections[0])
    count = len(request.sections[0].images)
    for predicted in (np.zeros(count - 1, np.int32), np.full(count, 99, np.int32), np.array(["a"] * count)):
        answer = {"predicted": predicted, "divergence": np.zeros(len(predicted), np.float32)}
        write_shipped(tiny.parent / FILE, [Shippable(name, count, answer)], MADE)
        other = Evaluator(evaluator.suite, workspace, "cpu")
        with pytest.raises(InputError, match=rf"answers\.arrow: expected what a model makes of {count} images"):
            other.measure(other.recipe("averaging"))


def test_where_it_was_measured_names_no_one():
    said = str(Made.here())
    assert Path.home().name not in said.split()
    assert "/" not in Made.here().processor


def test_a_table_is_kept_with_its_types_and_every_digit(workspace: Path):
    table = pd.DataFrame(
        {
            "name": ["one", "two"],
            "number": [0.1 + 0.2, np.nan],
            "single": np.array([1 / 3, 2], np.float32),
            "count": [3, 4],
            "yes": [True, False],
            "maybe": pd.Series([True, None], dtype=object),
            "nothing": [None, None],
        }
    )
    kept, store = kept_table("table"), Store(workspace)
    key = kept.key("of something")
    assert kept.find(store, key) is None
    returned = kept.keep(store, key, table, Record.of({}, 0.0))
    found = kept.find(store, key)
    assert found is not None
    pd.testing.assert_frame_equal(returned, found, check_exact=True)
    pd.testing.assert_frame_equal(table, found, check_exact=True)


def test_a_raised_version_is_another_result():
    assert len({kept_table("a").key("x"), kept_table("a", "2").key("x"), kept_table("a").key("y")}) == 3
