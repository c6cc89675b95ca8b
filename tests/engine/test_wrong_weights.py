"""Experts that are hardly what the suite takes them for are remarks that name the files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ri_analysis.cli import main
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.engine.gram import task_vector_gram
from ri_analysis.engine.wrong_weights import weight_remarks
from ri_analysis.suite import EMBEDDED, open_suite

Tensors = dict[str, torch.Tensor]


def _base(tiny: Path) -> Tensors:
    return {k: v for k, v in load_file(tiny.parent / "pretrained.safetensors").items() if k.startswith("visual.")}


def _expert(tiny: Path, task: str) -> Path:
    return tiny.parent / "original" / f"{task}.safetensors"


def _remarks(tiny: Path, workspace: Path) -> list[str]:
    report = check_suite(str(tiny), workspace)
    assert not report.findings
    return [line for line in report.remarks if ": the expert of " in line]


def test_sound_suites_have_no_remarks(tiny: Path, workspace: Path) -> None:
    assert _remarks(tiny, workspace) == []
    for name in EMBEDDED:
        suite = open_suite(name, workspace)
        evaluator = Evaluator(suite, workspace, "cpu")
        for experts in suite.expert_sets:
            task_vector_gram(suite, evaluator.store, experts)
            assert weight_remarks(suite, evaluator.store, experts) == ()


def test_the_geometry_is_that_of_plain_vectors(tiny: Path, workspace: Path) -> None:
    evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    for gram in (task_vector_gram(evaluator.suite, evaluator.store) for _ in range(2)):  # computed, then kept
        gram = gram.select(["Blues", "Reds"])
        base = torch.cat([v.flatten() for v in _base(tiny).values()]).double()
        flat = [torch.cat([load_file(_expert(tiny, t))[k].flatten() for k in _base(tiny)]).double() for t in gram.tasks]
        size, distances = base.norm(), [(each - base).norm() / base.norm() for each in flat]
        found = gram.place()
        np.testing.assert_allclose(found[0], distances, rtol=1e-6)
        np.testing.assert_allclose(found[1], [each.norm() / size for each in flat], rtol=1e-6)
        cosines = [each @ base / each.norm() / size for each in flat]
        np.testing.assert_allclose(found[2], cosines, rtol=1e-6)
        assert gram.distance("Reds") == pytest.approx(distances[1].item())
        assert gram.distance("Reds", "Blues") == pytest.approx(((flat[0] - flat[1]).norm() / size).item())


def _as_torch(path: Path, out: Path) -> None:
    torch.save(load_file(path), out)


def _in_half(path: Path, out: Path) -> None:
    save_file({key: value.half() for key, value in load_file(path).items()}, out)


@pytest.mark.parametrize("copy", [shutil.copy, _as_torch, _in_half])
def test_one_file_for_two_tasks(copy: Callable[[Path, Path], object], tiny: Path, workspace: Path) -> None:
    reds, blues = _expert(tiny, "Reds"), _expert(tiny, "Blues")
    copy(reds, blues.with_suffix(".other"))
    tiny.write_text(tiny.read_text().replace("original/Blues.safetensors", "original/Blues.other"))
    remark = (
        f"{blues.with_suffix('.other')}: the expert of Blues has the same weights as {reds}, the expert of Reds"
        f"{', apart from rounding to another number format' if copy is _in_half else ''}; "
        "one of them is likely the wrong file"
    )
    assert _remarks(tiny, workspace) == [remark]


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_the_pretrained_model_for_an_expert(kind: torch.dtype, tiny: Path, workspace: Path) -> None:
    for task in ("Reds", "Blues"):  # and nothing is said of these two being equal
        save_file({key: value.to(kind) for key, value in _base(tiny).items()}, _expert(tiny, task))
    found = _remarks(tiny, workspace)
    rounded = "" if kind == torch.float32 else ", apart from rounding to another number format"
    base = tiny.parent / "pretrained.safetensors"
    assert found == [
        f"{_expert(tiny, task)}: the expert of {task} has the weights of the pretrained model {base}{rounded}: it was "
        "not fine-tuned, or is the wrong file"
        for task in ("Reds", "Blues")
    ]


def test_files_of_equal_content_are_told_before_any_weight_was_read(tiny: Path, workspace: Path) -> None:
    shutil.copy(tiny.parent / "pretrained.safetensors", _expert(tiny, "Reds"))
    shutil.copy(_expert(tiny, "Greens"), _expert(tiny, "Blues"))
    evaluator = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    found = weight_remarks(evaluator.suite, evaluator.store)
    assert [line.partition(": ")[0] for line in found] == [str(_expert(tiny, "Reds")), str(_expert(tiny, "Blues"))]
    assert weight_remarks(evaluator.suite, evaluator.store, "mild") == ()
    assert weight_remarks(evaluator.suite, evaluator.store, tasks=["Greens"]) == ()


def test_a_task_vector_for_an_expert(tiny: Path, workspace: Path) -> None:
    base, path = _base(tiny), _expert(tiny, "Greens")
    save_file({key: (value - base[key]) * 0.5 for key, value in load_file(path).items()}, path)
    (found,) = _remarks(tiny, workspace)
    assert found.startswith(f"{path}: the expert of Greens is far from the pretrained model")
    assert found.endswith("it looks like a task vector θ − θ₀; give the fine-tuned model itself")


@pytest.mark.parametrize("how", ["another seed", "scaled"])
def test_an_expert_of_another_base(how: str, tiny: Path, workspace: Path) -> None:
    base, path = _base(tiny), _expert(tiny, "Greens")
    torch.manual_seed(1)
    if how == "scaled":
        other = {key: 2 * value for key, value in load_file(path).items()}
    else:
        other = {key: value.std(correction=0) * torch.randn_like(value) + value.mean() for key, value in base.items()}
    save_file({key: value.contiguous() for key, value in other.items()}, path)
    (found,) = _remarks(tiny, workspace)
    assert found.startswith(f"{path}: the expert of Greens is far from the pretrained model")
    assert found.endswith("it looks like a model of another base, or trained from scratch")
    if how == "scaled":
        assert "‖θ‖ = 2" in found


def test_commands_tell_what_the_store_knows(tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, path = _base(tiny), _expert(tiny, "Greens")
    save_file({key: (value - base[key]) * 0.5 for key, value in load_file(path).items()}, path)
    shutil.copy(_expert(tiny, "Reds"), _expert(tiny, "Blues"))
    command = ["measure", str(tiny), "--method", "averaging", "--device", "cpu", "--workspace", str(workspace)]
    assert main(command) == 0
    before = capsys.readouterr().err
    assert f"note  {_expert(tiny, 'Blues')}: the expert of Blues has the same weights as" in before
    assert "it looks like a task vector" not in before
    check_suite(str(tiny), workspace)
    assert main(command) == 0
    assert f"note  {path}: the expert of Greens is far from the pretrained model" in capsys.readouterr().err
