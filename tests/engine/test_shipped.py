"""Answers that come with a suite, and results that are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ri_analysis.engine.results import kept_table
from ri_analysis.engine.shipped import FILE, Made, Shippable, Shipped, write_shipped
from ri_analysis.engine.store import Record, Store

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
