"""Studies end to end: killed and resumed, by two processes at once, and on a Dask cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from started import Started, command

from ri_analysis.cli import main
from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.merging import METHODS
from ri_analysis.studies import STUDIES, find_study
from ri_analysis.studies.conducting import tables
from ri_analysis.studies.conducting.conduct import conduct, plan
from ri_analysis.studies.conducting.point import Point
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.conducting.work import Work

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
STUDY = ["--set", "methods=task-arithmetic,ties,iso-c", "--set", "levels=5", "--set", "images=24"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def arguments(suite: Path, workspace: Path, out: Path, *more: str) -> list[str]:
    options = ["--workspace", str(workspace), "--out", str(out), "--device", "cpu", "--no-images"]
    return ["study", "sensitivity", str(suite), *STUDY, *options, *more]


def assert_same(found: Path, expected: Path) -> None:
    left, right = (pd.read_parquet(folder / "table.parquet") for folder in (found, expected))
    pd.testing.assert_frame_equal(left, right, atol=1e-5)


@pytest.fixture(scope="module")
def undisturbed(tiny_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(arguments(tiny_template / "suite.toml", folder / "own", folder / "out")) == 0
    return folder / "out"


def points_kept(workspace: Path) -> int:
    from ri_analysis.engine.store import Store

    if not (workspace / "store.sqlite").exists():
        return 0
    store = Store(workspace)
    outcomes: int = store._connection.execute("SELECT count(*) FROM outcomes").fetchone()[0]
    store.close()
    return outcomes // 3  # the tasks of the tiny suite


def wait_for_points(workspace: Path, count: int, process: Started) -> None:
    end = time.monotonic() + 300
    while points_kept(workspace) < count:
        assert process.poll() is None, "the study ended before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_study_resumes_and_ends_with_the_same_table(tiny: Path, workspace: Path, undisturbed: Path, tmp_path):
    first = command(arguments(tiny, workspace, tmp_path / "never"))
    wait_for_points(workspace, 10, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = points_kept(workspace)
    assert not (tmp_path / "never").exists()
    assert main(arguments(tiny, workspace, tmp_path / "resumed")) == 0
    assert_same(tmp_path / "resumed", undisturbed)
    record = json.loads((tmp_path / "resumed" / "manifest.json").read_text())
    assert record["points_from_store"] >= kept >= 10


def test_two_processes_share_a_store(tiny: Path, workspace: Path, undisturbed: Path, tmp_path: Path):
    outs = [tmp_path / name for name in ("one", "two")]
    both = [command(arguments(tiny, workspace, out)) for out in outs]
    assert [process.wait(timeout=400) for process in both] == [0, 0]
    for out in outs:
        assert_same(out, undisturbed)


def test_a_pool_of_processes_gives_the_same_table(tiny: Path, workspace: Path, undisturbed: Path, tmp_path: Path):
    pool = command(arguments(tiny, workspace, tmp_path / "pool", "--jobs", "2"))
    assert pool.wait(timeout=400) == 0
    assert_same(tmp_path / "pool", undisturbed)


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers, each a process of its own; yield the scheduler's address and the workers."""
    address = folder / "scheduler.json"

    def launch(tool: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{tool}", "--scheduler-file", str(address), *options]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    processes = [launch("dask_scheduler", "--port", "0", "--host", "127.0.0.1", "--dashboard-address", ":0")]
    options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder), "--no-dashboard")
    try:
        processes += [launch("dask_worker", *options) for _ in range(2)]
        end = time.monotonic() + 120
        while not address.exists():
            assert time.monotonic() < end
            time.sleep(0.1)
        yield json.loads(address.read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_dask_cluster_that_loses_a_worker_gives_the_same_table(
    tiny: Path, workspace: Path, undisturbed: Path, tmp_path: Path
):
    pytest.importorskip("distributed")
    with cluster(tmp_path) as (address, workers):
        study = command(arguments(tiny, workspace, tmp_path / "dask", "--scheduler", address))
        wait_for_points(workspace, 12, study)
        workers[0].send_signal(signal.SIGKILL)
        assert study.wait(timeout=400) == 0
        assert workers[1].poll() is None
    assert_same(tmp_path / "dask", undisturbed)


# --- in this process --------------------------------------------------------------------------------------


def settings(**changed: object) -> dict[str, object]:
    declared = {item.name: item.default for item in find_study("sensitivity").settings}
    return declared | {"methods": "ties", "levels": 5, "images": 6} | changed


def test_cancelling_keeps_what_is_done_and_the_plan_shrinks(evaluator: Evaluator):
    study = find_study("sensitivity")
    planned = plan(study.rounds(evaluator, settings()), evaluator)
    assert planned.kept == 0

    results: dict[Work, Any] = {}

    def stop(done: int, total: int) -> None:
        if len(results) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        conduct(study.rounds(evaluator, settings()), evaluator, planned=planned, progress=stop, results=results)
    left = plan(study.rounds(evaluator, settings()), evaluator)
    assert left.kept == 5
    assert left.images < planned.images
    seen: list[tuple[int, int]] = []
    rounds = study.rounds(evaluator, settings())
    table = conduct(rounds, evaluator, planned=left, progress=lambda *step: seen.append(step), results=results)
    assert seen == sorted(seen)
    assert seen[0] == (0, left.images)
    assert seen[-1][0] <= left.images
    assert len(results) > 5
    assert {work: work.kept(evaluator).accuracy for work in results} == {
        work: outcome.accuracy for work, outcome in results.items()
    }
    again = conduct(
        study.rounds(evaluator, settings()), evaluator, planned=plan(study.rounds(evaluator, settings()), evaluator)
    )
    pd.testing.assert_frame_equal(table, again)


def test_a_warm_study_encodes_no_image(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    study = find_study("sensitivity")
    table = conduct(
        study.rounds(evaluator, settings()), evaluator, planned=plan(study.rounds(evaluator, settings()), evaluator)
    )
    monkeypatch.setattr(Point, "compute", lambda *_: pytest.fail("measured again"))
    warm = plan(study.rounds(evaluator, settings()), evaluator)
    assert warm.kept == warm.works
    assert warm.images == 0
    pd.testing.assert_frame_equal(conduct(study.rounds(evaluator, settings()), evaluator, planned=warm), table)


def test_the_direction_is_computed_once_along_scale(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch):
    from ri_analysis.engine import merged_vectors

    layers: list[str] = []
    original = merged_vectors.direction

    def watched(*arguments: Any, **options: Any) -> Iterator[tuple[str, Any]]:
        for name, delta in original(*arguments, **options):
            layers.append(name)
            yield name, delta

    monkeypatch.setattr(merged_vectors, "direction", watched)
    for scale in (0.1, 0.2, 0.3, 0.4):
        Point(evaluator.recipe("tsv-m", {"scale": scale})).compute(evaluator)
    assert len(layers) == len(set(layers)) > 0


def test_a_surface_has_every_place_and_a_finer_cross(evaluator: Evaluator):
    study = find_study("sensitivity")
    wanted = settings(y="density")
    table = conduct(
        study.rounds(evaluator, wanted), evaluator, planned=plan(study.rounds(evaluator, wanted), evaluator)
    )
    grid = table[table["kind"] == "grid"]
    assert grid.groupby("stage").size().to_dict() == {"before": 25, "after": 25}
    assert not grid.duplicated(["stage", "x", "y"]).any()
    fine = table[table["kind"] == "fine"]
    assert (fine.groupby("stage").size() >= 9).all()
    assert (fine["n"] == 36).all()  # 12 images of three tasks
    best = table[table["kind"] == "best"]
    assert len(best) == 2
    assert (best["plateau_low"] <= best["plateau_high"]).all()
    row = grid.iloc[7]
    recipe = evaluator.recipe("ties", {"scale": row["x"], "density": row["y"]}, experts=row["experts"])
    assert row["accuracy"] == pytest.approx(evaluator.measure(recipe, limit=6).mean_accuracy[0])
    charts = study.charts(table, True)
    assert list(charts) == ["surface-ties", "marginals-ties"]
    assert "wider after RI for" in study.verdict(table)


def test_bad_settings_are_one_clear_error(evaluator: Evaluator):
    study = find_study("sensitivity")
    for changed, message in (
        ({"methods": "tie"}, "sensitivity: methods must be one of .*, found 'tie'; did you mean 'ties'?"),
        ({"methods": ", "}, "sensitivity: methods must be one or more, separated by commas, each one of averaging, "),
        ({"y": "scale"}, "sensitivity: y must be one of density, .*, found 'scale'"),
        ({"x": "merge"}, "sensitivity: x must be one of scale, density, .*, found 'merge'"),
        ({"methods": "ties,dare", "y": "drop"}, "sensitivity: y must be one of density, .*, found 'drop'"),
        ({"method": "ties"}, "sensitivity: unknown hyperparameter 'method'; did you mean 'methods'"),
    ):
        with pytest.raises(InputError, match=message):
            study.complete(evaluator.suite, settings(**changed))
    assert study.complete(evaluator.suite, {"methods": "slerp"})["x"] == "mix"  # which has no λ
    with pytest.raises(InputError, match="unknown study 'sensitivty'; did you mean 'sensitivity'"):
        find_study("sensitivty")


def test_a_table_of_all_methods_is_of_those_there_were(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        settings = {name: STUDIES[name].complete(evaluator.suite, {}) for name in ("methods", "joint")}
        return [KeptTable.of_study(STUDIES[name], each, evaluator).key for name, each in settings.items()]

    before = keys()
    monkeypatch.setattr(tables, "METHODS", {name: METHODS[name] for name in METHODS if name != "della"})
    assert [old == new for old, new in zip(before, keys(), strict=True)] == [False, True]
