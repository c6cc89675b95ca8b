"""A budget for all memory, and values that are held within one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ri_analysis import memory
from ri_analysis.cli import main
from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.memory import Recent


@pytest.mark.parametrize(
    ("text", "count"), [("8GB", 8 * 10**9), ("1.5 GB", 15 * 10**8), ("2GiB", 1 << 31), ("2048MiB", 1 << 31)]
)
def test_a_size_is_a_number_with_its_unit(text: str, count: int) -> None:
    assert memory.size(text, "--memory") == count
    assert memory.size(memory.in_words(10**9), "") == 10**9


@pytest.mark.parametrize("text", ["8", "8G", "999MB", "-8GB", "1e9GB", "8gb", "", "GB", "9" * 400 + "GB"])
def test_anything_else_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--memory: expected a size of at least 1GB, such as 8GB, found '"):
        memory.size(text, "--memory")
    monkeypatch.setenv(memory.VARIABLE, text or "0")
    with pytest.raises(InputError, match=memory.VARIABLE):
        memory.budget()


def test_batches_shrink_with_the_budget(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "_bytes_each", lambda encoder: 10**7)
    assert Encoder(evaluator.architecture).batch == 128
    for text, batch in (("64GB", 128), ("4GB", 100), ("1GB", 25)):
        monkeypatch.setenv(memory.VARIABLE, text)
        assert Encoder(evaluator.architecture).batch == batch
    assert [memory.fitting(count) for count in (3 * 10**8, 2 * 10**8)] == [250_000_000, 2 * 10**8]
    assert memory.fitting(5, 10**9) == 1


def test_what_is_held_for_the_way_back_is_counted() -> None:
    layer = torch.nn.Linear(3, 5)
    inputs = torch.ones(7, 3)
    assert memory.bytes_held(layer, lambda: layer(inputs).square()) == 4 * (7 * 3 + 7 * 5)  # x for W, Wx + b for ()²


def test_workers_share_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "enforce", lambda: None)
    monkeypatch.setenv(memory.VARIABLE, "4GB")
    memory.require_for(4)
    with pytest.raises(InputError, match=r"--jobs 5: expected at most 4 within a budget of 4GB \(--memory\)"):
        memory.require_for(5)
    memory.divide(4)
    assert memory.budget() == 10**9


def test_all_held_values_share_a_quarter_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.VARIABLE, "1GB")
    monkeypatch.setattr(memory, "_all", set())
    few: Recent[str, int] = Recent(1 << 40, 2)
    many: Recent[int, int] = Recent(1 << 40)
    few.put("a", 1, 50_000_000)
    for number in range(10):
        many.put(number, number, 30_000_000)
    assert [number for number in range(10) if many.get(number) is not None] == [4, 5, 6, 7, 8, 9]
    assert few.get("a") == 1
    many.put(0, 0, 250_000_001)
    assert many.get(0) is None
    assert many.get(9) == 9


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), OSError(12, "Cannot allocate memory")],
)
def test_full_memory_is_one_message(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"memory is full: .* --memory SIZE"), memory.explained():
        raise error
    monkeypatch.setenv(memory.VARIABLE, "4GB")
    with (
        pytest.raises(InputError, match=r"^--memory 4GB \(RI_ANALYSIS_MEMORY\): expected all work to fit"),
        memory.explained(),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes"), InputError("x"), OSError(2, "none")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error), match=r"shapes|x|none"), memory.explained():
        raise error


@pytest.mark.skipif(sys.platform != "linux" or torch.cuda.is_available(), reason="kept on Linux, without a GPU")
def test_what_exceeds_the_budget_fails_in_the_process_itself() -> None:
    script = """
import torch
from ri_analysis import memory
memory.enforce()
with memory.explained():
    torch.zeros(50_000_000)
with memory.explained():
    torch.zeros(500_000_000)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env={"RI_ANALYSIS_MEMORY": "1GB", "PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True
    )
    assert "InputError: --memory 1GB" in done.stderr
    assert done.stderr.count("line 7") == 1  # not before


def test_the_flag_is_on_every_command_that_opens_a_suite(
    tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory.VARIABLE, "9GB")
    monkeypatch.setattr(memory, "_limit", lambda count: None)
    assert main(["check", str(tiny), "--memory", "8GB", "--workspace", str(workspace)]) == 0
    assert memory.budget() == 8 * 10**9
    with pytest.raises(SystemExit):
        main(["measure", str(tiny), "--memory", "8"])
    assert "argument --memory: expected a size of at least 1GB, such as 8GB, found '8'" in capsys.readouterr().err


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


def test_an_answer_is_as_large_as_its_arrays_and_tables_each_once() -> None:
    @dataclass
    class Found:
        values: np.ndarray
        parts: dict[str, list[object]]

    shared = np.zeros(10, np.float32)
    table = pd.DataFrame({"a": np.zeros(5)}, index=pd.RangeIndex(5))
    found = Found(shared, {"one": [shared, torch.zeros(3)], "two": [table, "text", None]})
    assert memory.bytes_of(found) == 40 + 12 + int(table.memory_usage(deep=True).sum())


def test_what_is_put_without_a_size_is_measured() -> None:
    recent: Recent[str, int] = Recent(10, measured=lambda value: value)
    for name, value in (("a", 6), ("b", 5)):
        recent.put(name, value)
    assert (recent.get("a"), recent.get("b")) == (None, 5)
