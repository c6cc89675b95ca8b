"""The answers that ship with the embedded suites: there for all that is asked first, and what is measured today."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ri_analysis.demo import answers
from ri_analysis.demo.answers import COMMAND, FirstLook, first_looks, first_recipes
from ri_analysis.engine import Evaluator
from ri_analysis.engine.results import table_of
from ri_analysis.engine.sealing import Arrays
from ri_analysis.engine.shipped import FILE, Shipped
from ri_analysis.studies import sensitivity
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.suite import EMBEDDED, open_suite, suite_path

REBUILD = f"the answers that ship with the suites are not those of this code; build them again: {COMMAND}"
SAMPLE = ("accuracy", "blocks", "crosstalk", "drift", "contribution")  # kinds that are measured again in a second
DIGITS = {"rtol": 1e-3, "atol": 1e-4}  # processors differ in the last digits of float32


def evaluator_of(suite: str, workspace: Path, *, fresh: bool = False) -> Evaluator:
    return Evaluator(open_suite(suite, workspace), workspace, "cpu", number_format=torch.float32, fresh=fresh)


@pytest.fixture(params=EMBEDDED)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_that_is_asked_first_is_there(suite: str, tmp_path: Path) -> None:
    evaluator = evaluator_of(suite, tmp_path)
    assert [look.name for look in first_looks(evaluator) if not look.known(evaluator)] == [], REBUILD


def test_the_file_says_how_it_came_about_and_names_no_one(suite: str) -> None:
    path = suite_path(suite).parent / FILE
    made = Shipped(path).made
    assert made is not None
    assert datetime.date.fromisoformat(made.day) <= datetime.datetime.now(datetime.UTC).date()
    assert made.cores > 0
    assert b"/home/" not in path.read_bytes()


def drawn(what: list[FirstLook]) -> Iterator[FirstLook]:
    """Yield a sample that changes from day to day."""
    seed = datetime.datetime.now(datetime.UTC).date().isoformat()
    print(f"drawn by the date {seed}")
    yield from random.Random(seed).sample(what, min(3, len(what)))


def test_a_sample_measured_again_has_the_same_digits(tmp_path: Path) -> None:
    """Of the smaller suite, whose analyses take a second each."""
    shipped, fresh = (evaluator_of("demo-halves", tmp_path / str(how), fresh=how) for how in (False, True))
    looks = [look for look in first_looks(shipped, ()) if look.kind in SAMPLE]
    for look in drawn(looks):
        print(look.name)
        before, now = answers_of(look, shipped), answers_of(look, fresh)
        assert before.keys() == now.keys(), f"{look.name}: {REBUILD}"
        for key, arrays in before.items():
            same(arrays, now[key], f"{look.name}: {REBUILD}")


def answers_of(look: FirstLook, evaluator: Evaluator) -> dict[tuple[str, int | None], Arrays]:
    """Return what is read of the store to answer, measured first where nothing is kept."""
    look.ask(evaluator)
    noting = answers.Noting(evaluator.store.workspace)
    noting.shipped = evaluator.store.shipped
    look.ask(Evaluator(evaluator.suite, None, "cpu", number_format=torch.float32, store=noting))
    return noting.read


def same(before: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray], said: str) -> None:
    assert before.keys() == now.keys(), said
    for name, array in before.items():
        other = now[name]
        if name == "table":
            pd.testing.assert_frame_equal(table_of(array), table_of(other), **DIGITS, obj=said)
        elif np.issubdtype(array.dtype, np.floating):
            assert np.allclose(array, other, **DIGITS), said
        else:
            assert array.shape == other.shape, said
            assert np.mean(array == other) > 0.995, said


@pytest.mark.parametrize("number", range(2))
def test_points_of_the_surface_measured_again_have_the_same_digits(tmp_path: Path, number: int) -> None:
    shipped, fresh = (evaluator_of("demo", tmp_path / str(how), fresh=how) for how in (False, True))
    recipes = first_recipes(shipped)
    x, y, *_ = sensitivity.axes_of(recipes.before)
    wanted = sensitivity.fields_of(recipes, x, y)
    found = sensitivity.kept_table(shipped, wanted).find()
    assert found is not None, REBUILD
    chance = random.Random(f"{datetime.datetime.now(datetime.UTC).date()} {number}")
    grid = found.table[found.table["kind"] == "grid"].reset_index(drop=True)
    row = grid.iloc[chance.randrange(len(grid))]
    print(row.to_dict())
    field = next(each for each in wanted if each.stage == row["stage"])
    outcome = field.point((row["x"], row["y"]), field.images).compute(fresh)
    assert outcome.accuracy == pytest.approx(row["accuracy"], abs=2 / outcome.n), REBUILD
    assert outcome.interference == pytest.approx(row["interference"], rel=1e-3), REBUILD


def test_a_table_is_not_taken_for_another(tmp_path: Path) -> None:
    evaluator = evaluator_of("demo-halves", tmp_path, fresh=True)
    keys = {
        KeptTable(evaluator, name, version, about).key
        for name in ("one", "other")
        for version in ("1", "2")
        for about in ({"levels": 3}, {"levels": 4})
    }
    assert len(keys) == 8
    assert KeptTable(evaluator, "one", "", {}).key == ""
