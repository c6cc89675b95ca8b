from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ri_analysis.encoder import Encoder, Head, architecture_of
from ri_analysis.engine import Evaluator
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.hyperparameters import Value, complete
from ri_analysis.measures import off_diagonal_mean
from ri_analysis.resolving import (
    DISTANCES,
    HYPERPARAMETERS,
    Losses,
    Objective,
    cost,
    default_settings,
    evidence,
    identity,
    record_of,
    resolve,
    unfinished,
)
from ri_analysis.resolving.trainer import pool
from ri_analysis.suite import Suite, open_suite
from ri_analysis.training import descent
from ri_analysis.training.settings import SCHEDULES
from ri_analysis.training.start import Rows

QUICK = {"steps": 12, "lr": 1e-3, "batch": 16}


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> Suite:
    return open_suite(str(tiny), workspace)


def naive_terms(
    heads: dict[str, torch.Tensor], task: str, alpha: float, model: torch.nn.Module, states: list[dict], x: torch.Tensor
) -> tuple[float, float]:
    """The objective as the paper writes it: three forward passes, a loop over heads and images, probabilities."""
    features = []
    for state in states:
        model.load_state_dict(state)
        with torch.no_grad():
            output = model(x)
        features.append((output / output.norm(dim=1, keepdim=True)).double())
    adapted, expert, pretrained = features

    def kl(head: torch.Tensor, teacher: torch.Tensor, student: torch.Tensor) -> float:
        total = 0.0
        for a, b in zip(teacher, student, strict=True):
            p, q = torch.softmax(head @ a, 0), torch.softmax(head @ b, 0)
            total += float(sum(p_c * (p_c.log() - q_c.log()) for p_c, q_c in zip(p, q, strict=True)))
        return total / len(teacher)

    keep = kl(heads[task].double(), expert, adapted)
    others = [kl(head.double(), pretrained, adapted) for name, head in heads.items() if name != task]
    return keep, alpha / (len(heads) - 1) * sum(others)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_the_objective_agrees_with_three_plain_forwards(evaluator: Evaluator, alpha: float) -> None:
    torch.manual_seed(0)
    model = evaluator.architecture.build().visual
    base = {key: value.clone() for key, value in model.state_dict().items()}
    states = [{key: value + 0.1 * torch.randn_like(value) for key, value in base.items()} for _ in range(3)]
    x = torch.randn(5, 3, 8, 8)
    heads = {"a": torch.randn(3, 16) * 5, "b": torch.randn(4, 16) * 5, "c": torch.randn(2, 16) * 5}
    keep, free = naive_terms(heads, "b", alpha, model, states, x)
    features = []
    for state in states:
        model.load_state_dict(state)
        features.append(torch.nn.functional.normalize(model(x), dim=-1))
    objective = Objective({name: Head(weight, ()) for name, weight in heads.items()}, "b", alpha)
    terms = objective(*features)
    assert terms.keep.item() == pytest.approx(keep, rel=1e-4)
    assert alpha * terms.free.item() == pytest.approx(free, rel=1e-4)
    assert terms.loss.item() == pytest.approx(keep + free, rel=1e-4)


def test_distances_agree_with_plain_loops() -> None:
    torch.manual_seed(1)
    teacher, student = torch.randn(2, 6, 5) * 3
    for row in range(6):
        p, q = torch.softmax(teacher[row].double(), 0), torch.softmax(student[row].double(), 0)
        expected = {
            "kl": sum(p[c] * (p[c].log() - q[c].log()) for c in range(5)),
            "cross-entropy": -q[max(range(5), key=lambda c: float(p[c]))].log(),
            "mse": sum((teacher[row, c] - student[row, c]) ** 2 for c in range(5)) / 5,
        }
        for name, distance in DISTANCES.items():
            assert distance(teacher, student)[row].item() == pytest.approx(float(expected[name]), rel=1e-4), name


def test_soft_cross_entropy_has_the_gradient_of_kl() -> None:
    """Why "cross-entropy" means the teacher's first choice: with its probabilities it would be KL over again."""
    torch.manual_seed(2)
    teacher, student = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    soft = -(torch.softmax(teacher, 1) * torch.log_softmax(student, 1)).sum(1)
    (of_soft,) = torch.autograd.grad(soft.sum(), student)
    (of_kl,) = torch.autograd.grad(DISTANCES["kl"](teacher, student).sum(), student)
    torch.testing.assert_close(of_soft, of_kl)


@pytest.mark.parametrize("distance", [name for name in DISTANCES if name != "kl"])
def test_every_distance_can_be_resolved_with(suite: Suite, distance: str) -> None:
    resolve(suite, auxiliary="other", name=distance, settings=QUICK | {"distance": distance})
    record = record_of(suite, distance)
    assert record["settings"]["distance"] == distance
    rows = next(iter(record["history"].values()))
    assert rows[-1][3] < rows[0][3]


def test_a_short_run_looks_at_no_more_images_than_it_draws(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST", 0)  # no held-out ones beside them
    seen: list[int] = []
    original = Encoder.features

    def watched(encoder, weights, images, rows=None, **options):  # type: ignore[no-untyped-def]
        seen.append(len(images) if rows is None else len(rows))
        return original(encoder, weights, images, rows, **options)

    monkeypatch.setattr(Encoder, "features", watched)
    settings = default_settings(suite) | {"steps": 2, "batch": 4, "views": 2}
    resolve(suite, auxiliary="other", name="short", settings=settings)
    assert seen[1:] == [8, 8, 8]
    assert 8 <= seen[0] <= 24
    assert cost(40, 3, settings, architecture_of(suite)) == (24, 24 + 24)
    assert cost(40, 3, settings | {"steps": 100}, architecture_of(suite)) == (1200, 4 * 80)


def test_features_of_some_images_are_those_of_all(evaluator: Evaluator) -> None:
    images, weights, rows = evaluator.suite.auxiliary_data("other"), evaluator.suite.zero_shot, np.array([1, 5, 30])
    some = Rows(rows, evaluator.encoder.features(weights, images, rows))
    torch.testing.assert_close(some.at(np.array([30, 1])), evaluator.encoder.features(weights, images)[[30, 1]])


def test_one_expert_has_nothing_to_free() -> None:
    feature = torch.nn.functional.normalize(torch.randn(2, 4), dim=1)
    terms = Objective({"a": Head(torch.randn(3, 4), ())}, "a", 1.0)(feature, feature, feature)
    assert terms.free.item() == 0
    assert terms.loss.item() == pytest.approx(0, abs=1e-6)


def test_ri_lowers_crosstalk_and_its_set_joins_the_suite(suite: Suite, workspace: Path) -> None:
    folder = resolve(suite, auxiliary="other", name="mine", settings=QUICK | {"steps": 40})
    assert suite.expert_sets == ("original", "mild", "mine")
    record = record_of(suite, "mine")
    assert record["settings"]["steps"] == 40
    assert record["auxiliary"]["name"] == "other"
    assert set(record["history"]) == set(suite.tasks)
    assert record["history"]["Reds"][-1][0] == 40
    assert sorted(path.name for path in folder.iterdir()) == [
        "Blues.safetensors",
        "Greens.safetensors",
        "Reds.safetensors",
        "resolve.json",
    ]
    evaluator = Evaluator(suite, workspace, "cpu")
    assert off_diagonal_mean(evaluator.crosstalk("mine")) < 0.5 * off_diagonal_mean(evaluator.crosstalk())


def test_a_set_made_from_other_weights_does_not_join(suite: Suite, tiny: Path, workspace: Path) -> None:
    folder = resolve(suite, auxiliary="noise", name="mine", settings=QUICK)
    record = json.loads((folder / "resolve.json").read_text())
    record["weights"]["Reds"] = "0" * 32
    (folder / "resolve.json").write_text(json.dumps(record))
    assert open_suite(str(tiny), workspace).expert_sets == ("original", "mild")
    (folder / "resolve.json").write_text("{ damaged")
    assert open_suite(str(tiny), workspace).expert_sets == ("original", "mild")


@pytest.mark.parametrize("stop", [5, 17])
def test_a_stopped_run_resumes_to_the_same_weights(
    suite: Suite, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descent, "SAVE_SECONDS", -1.0)  # save after every step
    settings = QUICK | {"schedule": "cosine"}
    undisturbed = resolve(suite, auxiliary="other", name="a", settings=settings, directory=tmp_path / "a")
    steps, seen = list[Losses](), list[tuple[int, int]]()

    def cancel(done: int, total: int) -> None:
        if done == stop:
            raise Cancelled

    with pytest.raises(Cancelled):
        resolve(suite, auxiliary="other", name="b", settings=settings, directory=tmp_path / "b", progress=cancel)
    with pytest.raises(InputError, match="unfinished run; resume it"):
        resolve(suite, auxiliary="other", name="b", settings=settings, directory=tmp_path / "b")
    with pytest.raises(InputError, match="differs in seed"):
        resolve(suite, auxiliary="other", name="b", settings=settings, directory=tmp_path / "b", seed=1, resume=True)
    resumed = resolve(
        suite,
        auxiliary="other",
        name="b",
        settings=settings,
        directory=tmp_path / "b",
        resume=True,
        progress=lambda *step: seen.append(step),
        report=steps.append,
    )
    assert len(steps) == 36 - stop
    assert [*dict.fromkeys(now.task for now in steps)] == list(suite.tasks)[stop // 12 :]
    assert seen == sorted(seen)
    assert (seen[-1], steps[-1].step) == ((36, 36), 12)
    assert steps[-1].loss == pytest.approx(steps[-1].keep + steps[-1].free)
    for task in suite.tasks:
        expected = load_file(undisturbed / f"{task}.safetensors")
        for key, value in load_file(resumed / f"{task}.safetensors").items():
            assert torch.equal(value, expected[key])


def test_the_learning_rate_follows_its_schedule() -> None:
    assert {SCHEDULES["constant"](step, 20) for step in range(1, 21)} == {1.0}
    cosine = [SCHEDULES["cosine"](step, 20) for step in range(1, 21)]
    assert (cosine[0], cosine[10]) == (1.0, pytest.approx(0.5))
    assert cosine == sorted(cosine, reverse=True)
    warm = [SCHEDULES["warm-cosine"](step, 20) for step in range(1, 21)]
    assert (warm[0], warm[2], warm[11]) == (0.5, 1.0, pytest.approx(0.5))  # up over 2 of 20 steps, then half a cosine
    assert max(warm) == 1.0
    assert min(warm) > 0.0
    assert SCHEDULES["warm-cosine"](1, 3) == 1.0  # too short to rise


def test_seeds_fix_a_run(suite: Suite, tmp_path: Path) -> None:
    def run(name: str, seed: int) -> dict[str, torch.Tensor]:
        settings = QUICK | {"steps": 3}
        folder = resolve(
            suite,
            auxiliary="other",
            name=name,
            settings=settings,
            seed=seed,
            directory=tmp_path / name,
            tasks=["Reds", "Blues"],
        )
        return load_file(folder / "Reds.safetensors")

    first, again, other = run("a", 0), run("b", 0), run("c", 1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_bad_requests_write_nothing(suite: Suite, workspace: Path, tmp_path: Path) -> None:
    cases = [
        ({"auxiliary": "emoji", "name": "x"}, "unknown auxiliary source 'emoji'"),
        ({"auxiliary": "noise", "name": "ri"}, "none of original, ri"),
        ({"auxiliary": "noise", "name": "a/b"}, "expected letters"),
        ({"auxiliary": "noise", "name": "mild"}, "exists already"),
        ({"auxiliary": "noise", "name": "x", "settings": {"step": 3}}, "did you mean 'steps'"),
        ({"auxiliary": "noise", "name": "x", "settings": {"alpha": -1}}, "alpha must be"),
        ({"auxiliary": "noise", "name": "x", "settings": {"alphas": "Reds"}}, "alphas: expected TASK=NUMBER, found"),
        ({"auxiliary": "noise", "name": "x", "settings": {"alphas": "Pinks=1"}}, "alphas: .* found 'Pinks=1'; known"),
        ({"auxiliary": "noise", "name": "x", "settings": {"alphas": "Reds=1,Reds=2"}}, "found 'Reds' twice"),
        ({"auxiliary": "noise", "name": "x", "settings": {"alphas": "Reds=many"}}, "alphas, Reds: .* found 'many'"),
        ({"auxiliary": "noise", "name": "x", "settings": {"alphas": "Reds=-1"}}, "alphas, Reds: alpha must be .* 100"),
        ({"auxiliary": "noise", "name": "x", "tasks": ["Pinks"]}, "unknown task 'Pinks'"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            resolve(suite, **arguments)  # type: ignore[arg-type]
    assert not workspace.exists() or not list(workspace.rglob("*"))
    with pytest.raises(InputError, match="expected a workspace"):
        resolve(open_suite(str(suite.spec.path)), auxiliary="noise", name="x")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="other files in it"):
        resolve(suite, auxiliary="noise", name="x", directory=tmp_path / "taken")


def test_an_expert_has_an_alpha_of_its_own(suite: Suite, tmp_path: Path) -> None:
    """Reds with α 3 of its own is Reds of a run with α 3; Blues stays as it was, and so do the names of sets."""

    def made(name: str, **settings: Value) -> dict[str, dict[str, torch.Tensor]]:
        tasks = ["Reds", "Blues"]
        folder = resolve(
            suite,
            auxiliary="other",
            name=name,
            settings=QUICK | {"steps": 3} | settings,
            directory=tmp_path / name,
            tasks=tasks,
        )
        assert json.loads((folder / "resolve.json").read_text())["settings"]["alphas"] == settings.get("alphas", "")
        return {task: load_file(folder / f"{task}.safetensors") for task in tasks}

    def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(one[key], other[key]) for key in one)

    plain, strong, single = made("a", alpha=0.5), made("b", alpha=3), made("c", alpha=0.5, alphas="Reds=3")
    assert equal(single["Reds"], strong["Reds"])
    assert equal(single["Blues"], plain["Blues"])
    assert not equal(single["Reds"], plain["Reds"])
    usual = default_settings(suite)
    assert "alphas" not in identity(usual)
    assert identity(usual | {"alphas": "Reds=3"}) == identity(usual) | {"alphas": "Reds=3"}


def test_a_run_starts_from_the_default_sets_settings(suite: Suite) -> None:
    declared = {item.name: item.default for item in HYPERPARAMETERS}
    assert default_settings(suite) == declared
    (suite.resolved_set("mild").directory / "resolve.json").write_text(json.dumps({"settings": {"lr": 0.01, "old": 1}}))
    assert default_settings(suite) == declared | {"lr": 0.01}


def test_unfinished_runs_are_listed_until_they_end(suite: Suite) -> None:
    def cancel(done: int, total: int) -> None:
        raise Cancelled

    assert unfinished(suite) == {}
    with pytest.raises(Cancelled):
        resolve(suite, auxiliary="noise", name="half", settings=QUICK, progress=cancel)
    assert unfinished(suite)["half"].plan["auxiliary"]["name"] == "noise"
    resolve(suite, auxiliary="noise", name="half", settings=QUICK, resume=True)
    assert unfinished(suite) == {}


def test_all_experts_draw_from_one_pool(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 of 2·40 variants: whatever the order of an expert's steps, no model looks at others."""
    sets = list[tuple[str, int]]()
    original = Encoder.features

    def watched(encoder, weights, images, rows=None, **options):  # type: ignore[no-untyped-def]
        sets.append((images.digest, len(images)))
        return original(encoder, weights, images, rows, **options)

    monkeypatch.setattr(Encoder, "features", watched)
    settings = QUICK | {"views": 2, "pool": 24, "batch": 4}
    resolve(suite, auxiliary="other", name="x", settings=settings, directory=tmp_path / "x")
    assert len({digest for digest, count in sets if count == 24}) == 1
    assert sum(count == 24 for _, count in sets) == 1 + len(suite.tasks)
    record = json.loads((tmp_path / "x" / "resolve.json").read_text())
    assert record["settings"]["pool"] == 24
    # What the pool holds no variant of may be held out.
    images = len(suite.auxiliary_data("other"))
    drawn = pool(2 * images, record["settings"], 0, large=False)
    assert record["held_out"]["images"] == images - len(np.unique(drawn % images)) < 32
    assert cost(40, 3, default_settings(suite) | settings, architecture_of(suite))[1] == 4 * 24


@pytest.mark.parametrize(
    ("changed", "large", "size"),
    [
        ({}, True, 9000),
        ({"parameters": "last-blocks"}, False, 9000),
        ({"parameters": "last-blocks"}, True, 2048),
        ({"parameters": "last-blocks", "pool": 5000}, True, 5000),
        ({"pool": 10_000}, True, 9000),
        ({"pool": 3}, False, 3),
    ],
)
def test_the_pool_is_small_where_new_images_cost_more_than_steps(
    changed: dict[str, object], large: bool, size: int
) -> None:
    settings = complete(HYPERPARAMETERS, changed, "resolve")
    found = pool(9000, settings, 0, large)
    assert len(found) == len(np.unique(found)) == size
    assert np.array_equal(found, np.sort(found))
    assert 0 <= found[0] <= found[-1] < 9000
