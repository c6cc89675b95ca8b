"""The same suite, recipe and seed give the same digits: in any process, by any number of threads, in any batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from random_experts import WITHOUT_DATA

from ri_analysis.encoder import Encoder
from ri_analysis.engine import Evaluator
from ri_analysis.files import digest
from ri_analysis.merging import METHODS
from ri_analysis.suite import open_suite

TOLERANCE = 1e-5  # nats, and of features of unit length: what float32 sums in another order differ by, and more

SCRIPT = """
import json, sys
from pathlib import Path
import torch
from test_determinism import merges
from ri_analysis.engine import Evaluator
from ri_analysis.suite import open_suite
torch.set_num_threads(int(sys.argv[3]))
evaluator = Evaluator(open_suite(sys.argv[1], Path(sys.argv[2])), Path(sys.argv[2]), "cpu", number_format=torch.float32)
found = evaluator.measure(evaluator.recipe("ties"), limit=20).table
print(json.dumps([merges(evaluator), found.to_dict("records")]))
"""


def merges(evaluator: Evaluator) -> dict[str, str]:
    """The digests of what every method merges, of as many experts as it can."""
    found = {}
    for name in WITHOUT_DATA:
        low, high = METHODS[name].counts
        tasks = evaluator.suite.tasks[: max(low, min(3, high or 3))]
        tensors = evaluator.merged(evaluator.recipe(name, tasks=tasks, seed=3 if METHODS[name].seeded else 0))
        found[name] = digest(*(f"{key}:{tensor.numpy().tobytes().hex()}" for key, tensor in tensors))
    return found


def require_alike(one: pd.DataFrame, other: pd.DataFrame) -> None:
    numbers = one.select_dtypes("number").columns
    assert len(one) > 0
    assert len(numbers) > 0
    assert other.drop(columns=numbers).equals(one.drop(columns=numbers))
    np.testing.assert_allclose(other[numbers], one[numbers], atol=TOLERANCE, rtol=0)


@pytest.mark.long
def test_processes_and_threads_give_the_same_bits_of_merges_and_the_same_numbers(tiny: Path, tmp_path: Path) -> None:
    running = []
    for number, threads in enumerate((1, 3)):
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        environment = os.environ | {"PYTHONHASHSEED": str(number), "PYTHONPATH": path}
        command = [sys.executable, "-c", SCRIPT, str(tiny), str(tmp_path / str(number)), str(threads)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    (one, table), (other, again) = (json.loads(process.communicate()[0]) for process in running)
    assert len(set(one.values())) == len(WITHOUT_DATA)
    assert one == other
    require_alike(pd.DataFrame(table), pd.DataFrame(again))


def test_batches_give_the_same_features_within_the_tolerance(evaluator: Evaluator) -> None:
    images = evaluator.suite.task_data(evaluator.suite.tasks[0])
    weights, found = dict(evaluator.merged(evaluator.recipe("averaging"))), []
    for batch in (1, 7, 128):
        found.append(Encoder(evaluator.architecture, batch=batch).features(weights, images))
    for other in found[1:]:
        assert float((other - found[0]).abs().max()) <= TOLERANCE


def test_batches_and_a_smaller_answer_before_give_the_same_outcomes(tiny: Path, tmp_path: Path) -> None:
    tables = []
    for number, (batch, before) in enumerate([(128, None), (5, None), (128, 6)]):
        workspace = tmp_path / str(number)
        own = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu", number_format=torch.float32)
        own.encoder.batch = batch
        recipe = own.recipe("ties")
        if before is not None:
            own.measure(recipe, limit=before)
        tables.append(own.measure(recipe).table)
    for other in tables[1:]:
        require_alike(other, tables[0])


def test_a_clock_that_is_set_back_changes_no_number_and_loses_no_answer(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(fresh: Path, recipe: str) -> str:
        own = Evaluator(open_suite(str(tiny), fresh), fresh, "cpu")
        return str(own.measure(own.recipe(recipe)).table.to_json())

    expected = {name: measured(workspace.with_name("other"), name) for name in ("averaging", "ties")}
    assert measured(workspace, "averaging") == expected["averaging"]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 400 * 86_400)
    assert measured(workspace, "averaging") == expected["averaging"]
    assert measured(workspace, "ties") == expected["ties"]
    monkeypatch.setattr(time, "time", now)
    own = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    assert all(own.kept(own.recipe(name)) for name in expected)
