"""Looking a suite through: what it finds, what it keeps for the next time, and what it says meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_formats import hugging_face, sharded_folder
from safetensors.torch import load_file, save_file
from tiny import TASKS

from ri_analysis.checkpoints.stored import StoredTensors
from ri_analysis.encoder import HeadLoader, heads, read_architecture
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.engine.gram import Gram, task_vector_gram
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.suite import open_suite
from ri_analysis.task_vectors import TaskVectors


def test_a_second_look_reads_no_weights_and_builds_no_head(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_heads = [line for line in tiny.read_text().splitlines() if not line.startswith("head = ")]
    tiny.write_text("\n".join(without_heads))
    first = check_suite(str(tiny), workspace)
    assert first.findings == []
    monkeypatch.setattr(TaskVectors, "walk", lambda _: pytest.fail("weights are read again"))
    monkeypatch.setattr(heads, "build_head", lambda *_: pytest.fail("a head is built again"))
    assert check_suite(str(tiny), workspace) == first


def test_a_suite_opens_without_a_tensor_being_read(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = open_suite(str(tiny), workspace)
    monkeypatch.setattr(StoredTensors, "__getitem__", lambda _, key: pytest.fail(f"{key} is read"))
    assert suite.task_vectors().size > 0


def test_changed_weights_are_read_again(tiny: Path, workspace: Path) -> None:
    assert check_suite(str(tiny), workspace).findings == []
    path = tiny.parent / "original" / "Reds.safetensors"
    tensors = load_file(path)
    tensors["visual.proj"][3] = torch.inf
    save_file(tensors, path)
    (finding,) = check_suite(str(tiny), workspace).findings
    assert finding.about == "expert Reds (original)"
    assert "found 16 NaN or infinite of 512 values" in finding.problem


def test_the_default_workspace_keeps_too(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check_suite(str(tiny))
    monkeypatch.setattr(TaskVectors, "walk", lambda _: pytest.fail("weights are read again"))
    assert check_suite(str(tiny)) == first


def test_every_damaged_expert_is_named_and_so_is_the_pretrained_model(tiny: Path, workspace: Path) -> None:
    for name in ("pretrained", "original/Reds", "resolved/mild/Blues"):
        path = tiny.parent / f"{name}.safetensors"
        tensors = load_file(path)
        tensors["visual.ln_post.bias"][0] = torch.nan
        save_file(tensors, path)
    report = check_suite(str(tiny), workspace)
    assert {item.about for item in report.findings} == {"pretrained", "expert Reds (original)", "expert Blues (mild)"}
    assert not any(line.startswith("weights") for line in report.passed)


def test_every_file_is_accounted_for(tiny: Path, workspace: Path) -> None:
    tensors = load_file(tiny.parent / "original" / "Reds.safetensors")
    folder = sharded_folder(tiny.parent / "shards", hugging_face(tensors, projection=False))
    (folder / "config.json").write_text('{"hidden_act": "gelu"}')
    tiny.write_text(tiny.read_text().replace("original/Reds.safetensors", "shards"))
    report = check_suite(str(tiny), workspace)
    assert report.findings == []
    assert [(item.model, item.experts) for item in report.files] == [
        ("pretrained", ""),
        *[(task, "original") for task in TASKS],
        *[(task, "mild") for task in TASKS],
    ]
    reds = report.files[1]
    assert reds.filled == ("visual.proj",)
    assert reds.ignored == ("vision_model.embeddings.position_ids",)
    assert reds.size == sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    parameters = sum(tensor.numel() for name, tensor in tensors.items() if name != "visual.proj")
    assert reds.parameters == parameters + 5  # the position ids
    table = report.file_table()
    assert table.loc[1, ["ignored", "filled", "dtype"]].tolist() == [1, 1, "float32"]


def test_progress_rises_names_what_is_looked_at_and_can_cancel(tiny: Path, workspace: Path) -> None:
    seen, notes = list[tuple[int, int]](), list[str]()
    check_suite(str(tiny), workspace, lambda *step: seen.append(step), note=notes.append)
    assert seen == sorted(seen)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert {total for _, total in seen} == {seen[0][1]}
    within = [done for done, _ in seen]
    assert len(set(within)) > len(notes)  # also while all weights are read
    assert {"pretrained", "weights (original)", "head Blues", "images Reds", "unseen dim"} <= set(notes)

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        check_suite(str(tiny), workspace, stop)


def test_progress_rises_too_where_weights_are_not_finite(tiny: Path, workspace: Path) -> None:
    path = Path(open_suite(str(tiny), workspace).expert("Greens").path)
    tensors = load_file(path)
    tensors["visual.proj"][0, 0] = float("nan")
    save_file(tensors, path)
    seen: list[tuple[int, int]] = []
    report = check_suite(str(tiny), workspace, lambda *step: seen.append(step))
    assert "NaN" in report.findings[0].problem
    assert seen == sorted(seen)


def test_a_kept_head_is_the_one_that_was_built(tiny: Path, workspace: Path) -> None:
    text = "".join(line for line in tiny.read_text().splitlines(True) if not line.startswith("head = "))
    tiny.write_text(text)
    architecture = read_architecture("model.json", tiny.parent)
    built = HeadLoader(open_suite(str(tiny), workspace), architecture).load("Reds")
    again = HeadLoader(open_suite(str(tiny), workspace), architecture).load("Reds")
    assert torch.equal(built.weight, again.weight)
    assert built.classes == again.classes
    tiny.write_text(text.replace('["a photo of {}", "{}"]', '["an image of {}"]', 1))
    other = HeadLoader(open_suite(str(tiny), workspace), architecture).load("Reds")
    assert not torch.allclose(other.weight, built.weight, atol=1e-3)


def test_class_names_hold_nothing_that_a_terminal_acts_on(tiny: Path, workspace: Path):
    (tiny.parent / "Reds.txt").write_text("reds 0\nreds \x1b[2J\nreds 2\n")
    with pytest.raises(InputError, match=r"Reds: expected class names of letters and signs, found 'reds \\x1b\[2J'"):
        HeadLoader(open_suite(str(tiny), workspace), read_architecture("model.json", tiny.parent)).load("Reds")


# --- norms and cosines --------------------------------------------------------------------------------------------


def test_norms_and_cosines_of_a_case_worked_by_hand() -> None:
    # two experts; in block 2 τ = (3, 4) and (4, -3), outside the blocks τ = (2,) and (0,)
    grams = np.array([[[25.0, 0.0], [0.0, 25.0]], [[4.0, 0.0], [0.0, 0.0]]])
    names = ("visual.transformer.resblocks.1.ln_1.weight", "visual.proj")
    gram = Gram(("A", "B"), names, grams, np.array([100.0, 16.0]), np.array([[10.0, -20.0], [5.0, 0.0]]))
    # ‖θ₀‖² = 116; ‖θ_A‖² = 116 + 2 · 15 + 29, ⟨θ_A, θ₀⟩ = 131; ‖θ_B‖² = 116 - 2 · 20 + 25, ⟨θ_B, θ₀⟩ = 96
    distances, lengths, cosines = gram.place()
    np.testing.assert_allclose(distances**2, [29 / 116, 25 / 116])
    np.testing.assert_allclose(lengths**2, [175 / 116, 101 / 116])
    np.testing.assert_allclose(cosines, [131 / (116 * 175) ** 0.5, 96 / (116 * 101) ** 0.5])
    assert gram.distance("A", "B") ** 2 == pytest.approx(54 / 116)  # their task vectors are orthogonal
    assert gram.distance("B") ** 2 == pytest.approx(25 / 116)
    table = gram.norm_table().set_index(["task", "block"])
    assert table.loc[("A", 2)].tolist() == [5.0, 0.5]
    assert table.loc[("A", 0)].tolist() == [2.0, 0.5]
    assert table.loc[("B", 0)].tolist() == [0.0, 0.0]
    assert gram.cosine().tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert gram.select(["B"]).tasks == ("B",)
    assert gram.select(["B"]).norm_table()["norm"].tolist() == [0.0, 5.0]


def test_the_gram_matrix_is_that_of_the_flat_task_vectors(evaluator: Evaluator, tiny: Path) -> None:
    gram = task_vector_gram(evaluator.suite, evaluator.store)
    base = load_file(tiny.parent / "pretrained.safetensors")
    experts = [load_file(tiny.parent / "original" / f"{task}.safetensors") for task in TASKS]
    flat = np.stack(
        [np.concatenate([(e[k].double() - base[k].double()).numpy().ravel() for k in experts[0]]) for e in experts]
    )
    norms = np.linalg.norm(flat, axis=1)
    assert np.allclose(gram.cosine(), flat @ flat.T / np.outer(norms, norms), atol=1e-6)
    table = gram.norm_table().groupby("task", sort=False)["norm"].agg(lambda norm: float(np.sqrt((norm**2).sum())))
    assert list(table.index) == list(TASKS)
    assert np.allclose(table.to_numpy(), norms, rtol=1e-6)
    cells = gram.cosine_table().set_index(["expert", "other"])["cosine"]
    assert cells["Reds", "Blues"] == pytest.approx(gram.cosine()[0, 2])
