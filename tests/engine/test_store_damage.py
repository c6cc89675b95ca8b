"""Damage to the store: an answer that is not what was kept is measured again, and a file that is no store set aside."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ri_analysis.engine import Evaluator, Store
from ri_analysis.engine.store import Record
from ri_analysis.errors import InputError
from ri_analysis.studies.conducting.crew import here
from ri_analysis.studies.conducting.point import Point
from ri_analysis.suite import open_suite

ANSWER = {"a": np.arange(5000, dtype=np.float32), "b": np.array(["x", "y"])}


def _rewrite(workspace: Path, change: Callable[[bytes], bytes | None]) -> None:
    with sqlite3.connect(workspace / "store.sqlite") as file:
        for key, value in file.execute("SELECT key, value FROM answers").fetchall():
            file.execute("UPDATE answers SET value = ? WHERE key = ?", (change(value), key))
    file.close()


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda value: value[: len(value) // 2],
    "empty": lambda value: b"",
    "one bit": lambda value: value[:9000] + bytes([value[9000] ^ 1]) + value[9001:],
    "a page of zeros": lambda value: value[:4096] + bytes(4096) + value[8192:],
    "zeros at the start": lambda value: bytes(4096) + value[4096:],
    "longer": lambda value: value + b"more",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("old", [False, True], ids=["now", "kept by an earlier version"])
def test_a_damaged_answer_is_dropped_and_said_once(
    damage: str, old: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for key in ("first", "second"):
        store.put(key, ANSWER, Record("what", "versions", 1.0))
    store.close()
    if old:
        _rewrite(tmp_path, lambda _: _npz(ANSWER))
        assert np.array_equal(Store(tmp_path).get("first")["a"], ANSWER["a"])  # type: ignore[index]
    if old and damage == "longer":
        return  # npz files may be followed by anything: what they hold is still right
    _rewrite(tmp_path, DAMAGE[damage])
    store = Store(tmp_path)
    assert not store.has("first")
    assert store.get("second") is None
    assert store.record("first") is None
    path = tmp_path / "store.sqlite"
    assert capsys.readouterr().err == f"note  {path}: holds damaged results; they are dropped and measured again\n"
    store.put("first", ANSWER, Record("what", "versions", 2.0))
    for opened in (store, Store(tmp_path)):
        found = opened.get("first")
        assert found is not None
        assert found["a"].tolist() == ANSWER["a"].tolist()
        assert found["b"].tolist() == ["x", "y"]
        assert opened.has("first")
        assert opened.record("first") == Record("what", "versions", 2.0)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zero_pages(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))


def _no_store(path: Path) -> None:
    path.write_bytes(b"this is no SQLite file at all, but something else " * 400)


@pytest.mark.parametrize("damage", [_cut, _zero_pages, _no_store])
def test_a_damaged_file_is_set_aside_for_a_new_one(
    damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(tmp_path)
    for number in range(20):
        store.put(f"key {number}", ANSWER)
    store.close()
    damage(path)
    damaged = path.read_bytes()
    store = Store(tmp_path)
    answers = [store.get(f"key {number}") for number in range(20)]
    assert any(answer is None for answer in answers)
    for number in range(20):
        store.put(f"key {number}", ANSWER)
    assert all(store.has(f"key {number}") for number in range(20))
    aside = [item for item in tmp_path.glob("store.sqlite.damaged-*") if item.suffix != ".sqlite-wal"]
    assert len(aside) >= 1
    assert aside[0].read_bytes()[-1000:] == damaged[-1000:]
    said = [line for line in capsys.readouterr().err.splitlines() if "set aside as store.sqlite.damaged-" in line]
    assert len(said) == 1
    assert said[0].startswith(f"note  {path}: can't be read (")


def test_a_store_that_another_process_has_set_aside_is_not_set_aside_again(tmp_path: Path) -> None:
    first, second = Store(tmp_path), Store(tmp_path)
    for number in range(20):
        first.put(f"key {number}", ANSWER)
    first.close()
    second.close()
    _no_store(tmp_path / "store.sqlite")
    first, second = Store(tmp_path), Store(tmp_path)
    first.put("new", ANSWER)
    assert second.has("new")
    assert len(list(tmp_path.glob("store.sqlite.damaged-*"))) == 1


@pytest.mark.parametrize("name", ["store.sqlite", "."])
def test_a_link_that_leads_to_itself_is_no_workspace(name: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    if name != ".":
        workspace.mkdir()
    loop = workspace / name
    loop.symlink_to(loop.name)
    with pytest.raises(InputError, match=r"store\.sqlite: expected a workspace that can be written, found: ") as error:
        Store(workspace)
    assert str(error.value).endswith("; name another folder by --workspace")
    assert os.readlink(loop) == loop.name


@pytest.mark.parametrize("others", [0, 1])
def test_a_log_that_is_cut_off_under_an_open_store_is_no_end_of_it(
    others: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for number in range(40):
        store.put(f"key {number}", ANSWER)
    others_open = [Store(tmp_path) for _ in range(others)]
    log = tmp_path / "store.sqlite-wal"
    os.truncate(log, log.stat().st_size // 2)
    for asked in (store, *others_open):
        found = [asked.get(f"key {number}") for number in range(40)]
        assert all(np.array_equal(answer["a"], ANSWER["a"]) for answer in found if answer is not None)
        assert others or any(answer is not None for answer in found), "what lies before the cut is still there"
        asked.put("new", ANSWER)
        assert Store(tmp_path).has("new")
    aside = [path for path in tmp_path.glob("store.sqlite.damaged-*") if path.name[-4:] not in ("-wal", "-shm")]
    assert len(aside) == others
    assert ("can't be read" in capsys.readouterr().err) == bool(others)


def test_a_workspace_that_cannot_be_written_is_still_one_message(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").mkdir()
    with pytest.raises(ValueError, match=r"store\.sqlite"):
        Store(tmp_path)
    assert list(tmp_path.glob("store.sqlite*")) == [tmp_path / "store.sqlite"]


@pytest.mark.parametrize("damage", ["cut", "zeros at the start"])
def test_every_kind_of_answer_is_measured_again(damage: str, tiny: Path, workspace: Path) -> None:
    def ask() -> list[pd.DataFrame | np.ndarray]:
        evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
        recipe = evaluator.recipe("averaging")
        point = Point(recipe, "test")
        for done in here(evaluator, [point], None):
            point.keep(evaluator, done.result, done.seconds)
        return [evaluator.measure(recipe).table, evaluator.crosstalk(), np.array(point.compute(evaluator).accuracy)]

    before = ask()
    _rewrite(workspace, DAMAGE[damage])
    for old, new in zip(before, ask(), strict=True):
        assert old.equals(new) if isinstance(old, pd.DataFrame) else (old == new).all()


def test_the_guard_is_asked_before_an_answer_is_kept(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RuntimeError("not now")

    store = Store(tmp_path, refuse)
    with pytest.raises(RuntimeError, match="not now"):
        store.put("k", ANSWER)
    assert not store.has("k")


def test_an_answer_under_another_key_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(2):
        store.put(f"key {number}", {"a": np.array([number])})
        store.put_nested("nested", 10 + number, {"a": np.array([number])})
        store.put_features(f"features {number}", np.full((3, 2), number, np.float32))
    store.close()
    with sqlite3.connect(tmp_path / "store.sqlite") as file:
        file.execute("UPDATE answers SET value = (SELECT value FROM answers WHERE key = 'key 1')")
        file.execute("UPDATE outcomes SET value = (SELECT value FROM outcomes WHERE count = 11)")
        file.execute("UPDATE features SET value = (SELECT value FROM features WHERE key = 'features 1')")
    file.close()
    store = Store(tmp_path)
    assert store.get("key 0") is None
    assert store.get("key 1") == {"a": np.array([1])}
    assert store.nested("nested", 10) == (11, {"a": np.array([1])})
    assert store.features("features 0", 3) is None
    assert np.array_equal(store.features("features 1", 3), np.ones((3, 2)))  # type: ignore[arg-type]


def test_answers_sealed_by_an_earlier_version_are_answers_still(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("first", {"a": np.arange(5)})
    store.close()

    def earlier(value: bytes) -> bytes:
        return b"RI-1" + hashlib.blake2b(value[20:], digest_size=16).digest() + value[20:]

    _rewrite(tmp_path, earlier)
    found = Store(tmp_path).get("first")
    assert found is not None
    assert found["a"].tolist() == [0, 1, 2, 3, 4]
    _rewrite(tmp_path, lambda value: value[:-1] + b"\1")
    assert Store(tmp_path).get("first") is None


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE outcomes RENAME COLUMN value TO v", "ALTER TABLE records DROP COLUMN seconds", "DROP TABLE answers",
     "UPDATE outcomes SET count = 'a'", "UPDATE outcomes SET count = -3", "UPDATE outcomes SET value = 'text'"],
)  # fmt: skip
def test_a_store_of_other_tables_is_no_traceback(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    store.put_nested("key", 5, ANSWER)
    store.close()
    with sqlite3.connect(tmp_path / "store.sqlite") as file:
        file.execute(change)
    file.close()
    for _ in range(2):
        store = Store(tmp_path)
        assert store.get("other") is None
        if "answers" not in change and "records" not in change:
            assert store.nested("key", 5) is None
            store.put_nested("key", 5, ANSWER)
            assert store.nested("key", 5) is not None
            with sqlite3.connect(tmp_path / "store.sqlite") as file:
                file.execute("DELETE FROM outcomes")
        store.close()
    assert capsys.readouterr().err.count("\n") <= 1
