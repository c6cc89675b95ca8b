from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import without_keys
from torch.nn.functional import normalize

from ri_analysis.encoder import Encoder, architecture_of, load_heads
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.resolving import (
    cost,
    default_settings,
    forecast,
    identity,
    pace,
    record_of,
    resolve,
    together,
    unfinished,
)
from ri_analysis.suite import Suite, open_suite

FIRST: dict[str, Any] = {"steps": 3, "lr": 1e-3, "batch": 16}
SECOND: dict[str, Any] = FIRST | {"together": 6, "together_scale": 0.7, "together_lr": 2e-3}
State = dict[str, torch.Tensor]


@pytest.fixture
def suite(tiny: Path, workspace: Path) -> Suite:
    return open_suite(str(tiny), workspace)


def plain_sum(suite: Suite, experts: str, scale: float, *, steps: int, batch: int, lr: float) -> tuple[State, float]:
    """Return θ₀ + scale · Σ τ trained as plainly as it can be written, with the last step's loss."""
    architecture = architecture_of(suite)
    model, encoder, heads = architecture.build().visual, Encoder(architecture), load_heads(suite, architecture)
    adapted, vectors = suite.task_vectors(experts), suite.task_vectors()

    def state(make: Any) -> State:
        return {name.removeprefix("visual."): make(name) for name in vectors.names}

    def total(name: str) -> torch.Tensor:
        start = vectors.pretrained(name)
        return start + scale * sum(adapted.expert(name, task) - start for task in suite.tasks)

    teachers = {task: state(lambda name, task=task: vectors.expert(name, task)) for task in suite.tasks}
    moved = {name: torch.nn.Parameter(tensor) for name, tensor in state(total).items()}
    optimizer = torch.optim.AdamW(moved.values(), lr=lr, weight_decay=1e-4)
    images = suite.auxiliary_data("other")
    generator, order, loss = np.random.default_rng((0,)), np.zeros(0, np.int64), torch.zeros(())
    for _ in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, generator.permutation(len(images))])
        x, order = encoder.preprocess(images.pixels(order[:batch], architecture.image_size)), order[batch:]
        found = normalize(torch.func.functional_call(model, moved, (x,)), dim=-1)
        loss = torch.zeros(())
        for task, teacher in teachers.items():
            with torch.no_grad():
                answer = normalize(torch.func.functional_call(model, teacher, (x,)), dim=-1)
                p = torch.softmax(answer @ heads[task].weight.T, dim=1)
            q = torch.log_softmax(found @ heads[task].weight.T, dim=1)
            loss = loss + (p * (p.log() - q)).sum(dim=1).mean() / len(teachers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in moved.items()}, loss.item()


def test_the_experts_sum_to_what_a_plain_loop_makes_of_their_sum(suite: Suite) -> None:
    resolve(suite, auxiliary="other", name="first", settings=FIRST)
    resolve(suite, auxiliary="other", name="second", settings=SECOND)
    expected, loss = plain_sum(suite, "first", 0.7, steps=6, batch=16, lr=2e-3)
    first, second = suite.task_vectors("first"), suite.task_vectors("second")
    for name in second.names:
        before, after = (
            torch.stack([vectors.expert(name, task) for task in suite.tasks]) for vectors in (first, second)
        )
        share = after - before
        torch.testing.assert_close(share, share[:1].expand_as(share), rtol=1e-3, atol=1e-6)  # all move alike
        start = second.pretrained(name)
        total = start + 0.7 * (after - start).sum(dim=0)
        plain = expected[name.removeprefix("visual.")]
        torch.testing.assert_close(without_keys(name, total), without_keys(name, plain), rtol=1e-3, atol=1e-4)
    record = record_of(suite, "second")
    assert record["together"][0][1] > record["together"][-1][1] == pytest.approx(loss, rel=1e-3)
    assert record["settings"]["together"] == 6
    assert "together" not in record_of(suite, "first")


@pytest.mark.parametrize(
    ("changed", "jobs"), [({"parameters": "last-blocks", "blocks": 1}, 2), ({"parameters": "lora", "rank": 2}, 1)]
)
@pytest.mark.long
def test_only_what_is_trained_is_corrected(suite: Suite, changed: dict[str, Any], jobs: int) -> None:
    folder = resolve(suite, auxiliary="other", name="part", settings=SECOND | changed, jobs=jobs)
    vectors = suite.task_vectors()
    same = [
        name for name, tensor in load_file(folder / "Reds.safetensors").items()
        if torch.equal(tensor, vectors.expert(name, "Reds"))
    ]  # fmt: skip
    assert "visual.conv1.weight" in same
    assert len(same) < len(vectors.names)
    assert sorted(path.name for path in folder.iterdir()) == [
        *sorted(f"{task}.safetensors" for task in suite.tasks),
        "resolve.json",
    ]


def test_the_second_stage_is_counted_and_goes_on_where_it_was_stopped(suite: Suite, monkeypatch) -> None:
    monkeypatch.setattr("ri_analysis.training.descent.SAVE_SECONDS", -1.0)
    counts: list[tuple[int, int]] = []
    steps = 3 * len(suite.tasks)

    def cancel(done: int, total: int) -> None:
        counts.append((done, total))
        if done == steps + 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        resolve(suite, auxiliary="other", name="whole", settings=SECOND, progress=cancel)
    assert counts[-1] == (steps + 2, steps + 6)
    assert unfinished(suite)["whole"].share == pytest.approx((steps + 2) / (steps + 6))
    stopped = resolve(suite, auxiliary="other", name="whole", settings=SECOND, resume=True)
    undisturbed = resolve(suite, auxiliary="other", name="again", settings=SECOND)
    for task in suite.tasks:
        name = f"{task}.safetensors"
        assert (stopped / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_second_stage_of_no_steps_leaves_names_and_costs_as_they_were(suite: Suite) -> None:
    values = default_settings(suite)
    assert identity(values | {"together_scale": 3.0}) == identity(values)
    assert not any(name.startswith("together") for name in identity(values))
    assert identity(values | {"together": 5})["together_scale"] == 1.0
    architecture = architecture_of(suite)
    values |= {"steps": 10, "batch": 4}
    trained, looked = cost(40, 3, values, architecture)
    assert cost(40, 3, values | {"together": 5}, architecture) == (trained + 20, looked + 3 * 20)
    values |= {"precision": "float32"}
    found = pace(suite, "other", values, suite.tasks)

    def passes(**changed: int) -> int:
        return forecast(suite, auxiliary="other", name="x", pace=found, settings=values | changed).passes

    assert passes(together=5) == passes() + 20


def test_the_rate_of_the_stage_is_named_where_its_loss_is_not_finite(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "taught", lambda *_: lambda adapted, _: (adapted.sum() * torch.nan,))
    with pytest.raises(InputError, match=r"choose a smaller learning rate than together_lr = 0\.002"):
        resolve(suite, auxiliary="other", name="wild", settings=SECOND)
