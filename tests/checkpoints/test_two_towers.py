"""Files that hold more than one vision tower: none is read by chance, and the suite file says which is meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_formats import full_hugging_face, hugging_face, hugging_face_folder, model, vision
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel

from ri_analysis.checkpoints import read_checkpoint, read_tower, whole_model
from ri_analysis.cli import main
from ri_analysis.encoder import load_head
from ri_analysis.engine import Evaluator, check_suite
from ri_analysis.errors import InputError
from ri_analysis.suite import open_suite

Tensors = dict[str, torch.Tensor]


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + key: value.clone() for key, value in tensors.items()}


def bare(tensors: Tensors) -> Tensors:
    return {key.removeprefix("visual."): value for key, value in tensors.items()}


ONE, TWO = vision(model(0)), vision(model(1))
PAIRS = [("student.", "teacher."), ("net.", "ref."), ("model.", "ema."), ("online.", "target."), ("a.b.", "c.")]
PAIRS += [("module.", "module_ema."), ("", "ema.")]
SHAPES: dict[str, Callable[[Tensors], Tensors]] = {
    "visual": lambda tensors: tensors,
    "bare": bare,
    "Hugging Face": hugging_face,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pair", PAIRS)
def test_two_towers_are_an_error_that_names_them_and_a_prefix_chooses(
    pair: tuple[str, str], shape: str, tmp_path: Path
) -> None:
    names, path = SHAPES[shape], tmp_path / "both.safetensors"
    for order in (1, -1):
        both = [under(pair[0], names(ONE)), under(pair[1], names(TWO))][::order]
        torch.save(both[0] | both[1], tmp_path / f"{order}.pt")
        save_file(both[0] | both[1], path)
        for file in (path, tmp_path / f"{order}.pt"):
            with pytest.raises(InputError, match=r"expected one vision tower, found 2 that differ") as error:
                read_tower(read_checkpoint(file))
            assert all(f'"{prefix}"' in str(error.value) for prefix in pair)
            assert str(error.value).startswith(f"{file}: ")
            assert 'choose with tower = "' in str(error.value)
            for prefix, expected in zip(pair, (ONE, TWO), strict=True):
                tower = read_tower(read_checkpoint(file, tower=prefix))
                assert tower.tensors.keys() == expected.keys()
                assert all(torch.equal(tower.tensors[key], expected[key]) for key in expected)
                assert len(tower.ignored) >= len(expected)


@pytest.mark.parametrize("prefix", ["student", "student.", "student.visual.", "student.visual"])
def test_a_prefix_may_be_written_with_and_without_its_end(prefix: str, tmp_path: Path) -> None:
    torch.save(under("student.", ONE) | under("studentema.", TWO), tmp_path / "x.pt")
    tensors = read_tower(read_checkpoint(tmp_path / "x.pt", tower=prefix)).tensors
    assert torch.equal(tensors["visual.proj"], ONE["visual.proj"])


@pytest.mark.parametrize("wanted", ["techer.", "", "visual.", "s"])
def test_a_prefix_that_no_tower_has_is_named(wanted: str, tmp_path: Path) -> None:
    torch.save(under("student.", ONE) | under("teacher.", TWO), tmp_path / "x.pt")
    with pytest.raises(InputError, match=r'vision towers? ha\w+ this prefix; those of the file: "student\.", "teac'):
        read_checkpoint(tmp_path / "x.pt", tower=wanted)
    torch.save({"a": torch.zeros(1)}, tmp_path / "y.pt")
    with pytest.raises(InputError, match="those of the file: none"):
        read_checkpoint(tmp_path / "y.pt", tower="student.")


@pytest.mark.parametrize(
    "envelopes",
    [("model", "model_ema"), ("state_dict", "ema_state_dict"), ("net", "module"), ("model", "teacher")],
)
def test_envelopes_are_prefixes_too(envelopes: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"epoch": 3, envelopes[0]: ONE, envelopes[1]: TWO}, path)
    with pytest.raises(InputError, match="found 2 that differ") as error:
        read_tower(read_checkpoint(path))
    assert all(f'"{name}."' in str(error.value) for name in envelopes)
    for name, expected in zip(envelopes, (ONE, TWO), strict=True):
        tower = read_tower(read_checkpoint(path, tower=name))
        assert torch.equal(tower.tensors["visual.proj"], expected["visual.proj"])


def test_towers_of_both_kinds_of_names_in_one_file(tmp_path: Path) -> None:
    torch.save(under("a.", ONE) | under("b.", hugging_face(ONE)), tmp_path / "x.pt")
    with pytest.raises(InputError, match=r'found 2 that differ, "a\.", "b\."'):
        read_tower(read_checkpoint(tmp_path / "x.pt"))
    torch.save(ONE | hugging_face(TWO), tmp_path / "y.pt")
    with pytest.raises(InputError, match=r'found 2 that differ, "vision_model\.", "visual\."'):
        read_tower(read_checkpoint(tmp_path / "y.pt"))
    read = read_tower(read_checkpoint(tmp_path / "y.pt", tower="vision_model.")).tensors
    assert all(torch.equal(read[key], TWO[key]) for key in TWO)


@pytest.mark.parametrize("shape", SHAPES)
def test_tied_towers_are_one_and_a_single_bit_unties_them(shape: str, tmp_path: Path) -> None:
    names = SHAPES[shape]
    both = under("a.", names(ONE)) | under("b.", names(ONE))
    torch.save(both, tmp_path / "x.pt")
    tower = read_tower(read_checkpoint(tmp_path / "x.pt"))
    assert all(torch.equal(tower.tensors[key], ONE[key]) for key in ONE)
    assert tower.remarks[0].startswith(f"{tmp_path / 'x.pt'}: holds 2 vision towers of equal weights; the first, 'a.")
    assert read_tower(read_checkpoint(tmp_path / "x.pt", tower="b.")).remarks == ()
    key = next(key for key in both if key.startswith("b.") and "position_emb" in key.replace("positional", "position"))
    both[key].view(torch.int32).view(-1)[-1] ^= 1
    torch.save(both, tmp_path / "x.pt")
    with pytest.raises(InputError, match="found 2 that differ"):
        read_tower(read_checkpoint(tmp_path / "x.pt"))


def test_towers_that_share_all_but_the_projection_differ(tmp_path: Path) -> None:
    other = hugging_face(ONE) | {"visual_projection.weight": hugging_face(TWO)["visual_projection.weight"]}
    torch.save(under("a.", hugging_face(ONE)) | under("b.", other), tmp_path / "x.pt")
    with pytest.raises(InputError, match="found 2 that differ"):
        read_tower(read_checkpoint(tmp_path / "x.pt"))


def test_a_submodule_that_is_known_under_two_names_is_tied(tmp_path: Path) -> None:
    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.clip = model(0)
            self.image_encoder = torch.nn.ModuleDict({"visual": self.clip.visual})

    torch.save(Both().state_dict(), tmp_path / "x.pt")
    assert read_tower(read_checkpoint(tmp_path / "x.pt")).tensors.keys() == ONE.keys()


def test_a_running_average_beside_its_model(tmp_path: Path) -> None:
    clip = model(0)
    average = AveragedModel(clip)
    average.update_parameters(clip)
    torch.save(average.state_dict(), tmp_path / "one.pt")  # module.visual.… and n_averaged: one tower
    assert torch.equal(read_tower(read_checkpoint(tmp_path / "one.pt")).tensors["visual.proj"], ONE["visual.proj"])
    average.update_parameters(model(1))
    torch.save({"model": clip.state_dict(), "ema": average.state_dict()}, tmp_path / "two.pt")
    with pytest.raises(InputError, match=r'"ema\.module\.", "model\."'):
        read_tower(read_checkpoint(tmp_path / "two.pt"))
    read = read_tower(read_checkpoint(tmp_path / "two.pt", tower="ema")).tensors
    assert torch.equal(read["visual.proj"], average.module.visual.proj)


def test_the_text_tower_is_none_of_them_and_belongs_to_the_chosen_one(tmp_path: Path) -> None:
    for number in (0, 1):
        save_file(
            {k: v.contiguous() for k, v in model(number).state_dict().items()}, tmp_path / f"{number}.safetensors"
        )
    assert read_tower(read_checkpoint(tmp_path / "0.safetensors")).tensors.keys() == ONE.keys()
    for names in (lambda clip: clip.state_dict(), full_hugging_face):
        both = under("", names(model(0))) | under("ema.", names(model(1)))
        torch.save(both, tmp_path / "x.pt")
        for tower, number in (("", 0), ("ema.", 1)):
            whole = whole_model(read_checkpoint(tmp_path / "x.pt", tower=tower))
            expected = model(number).state_dict()
            assert whole.keys() == expected.keys()
            assert all(torch.equal(whole[key], expected[key]) for key in expected)
        with pytest.raises(InputError, match="found 2 that differ"):
            whole_model(read_checkpoint(tmp_path / "x.pt"))


def test_the_digest_names_the_choice_and_only_where_there_is_one(tmp_path: Path) -> None:
    torch.save(under("a.", ONE) | under("b.", TWO), tmp_path / "x.pt")
    digests = [read_checkpoint(tmp_path / "x.pt", tower=tower).digest for tower in (None, "a.", "b.", "a", "a.visual.")]
    assert len(set(digests)) == 3
    assert digests[1] == digests[3] == digests[4]
    torch.save(under("a.", ONE), tmp_path / "y.pt")
    single = [read_checkpoint(tmp_path / "y.pt", tower=tower).digest for tower in (None, "a.")]
    assert single[0] == single[1]


@pytest.mark.long
def test_nothing_depends_on_the_seed_of_hashes(tmp_path: Path) -> None:
    torch.save(under("net.", ONE) | under("ref.", TWO), tmp_path / "x.pt")
    torch.save(under("net.", ONE) | under("ref.", ONE), tmp_path / "tied.pt")
    code = """
import sys
from ri_analysis.checkpoints import read_checkpoint, read_tower
from ri_analysis.errors import InputError
folder = sys.argv[1]
try:
    read_tower(read_checkpoint(__import__("pathlib").Path(folder, "x.pt")))
except InputError as error:
    print(error)
tower = read_tower(read_checkpoint(__import__("pathlib").Path(folder, "tied.pt")))
print(tower.ignored, list(tower.tensors))
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert "found 2 that differ" in said.pop()


# --- in a suite ---------------------------------------------------------------------------------------------------


def in_one_file(suite: Path) -> Path:
    """Put the experts of Reds and Blues into one file and have both tasks name it; return the file."""
    folder = suite.parent
    both = under("student.", load_file(folder / "original" / "Reds.safetensors"))
    both |= under("teacher.", load_file(folder / "original" / "Blues.safetensors"))
    save_file(both, folder / "both.safetensors")
    text = suite.read_text()
    for task, prefix in (("Reds", "student."), ("Blues", "teacher.")):
        line = f'expert = "original/{task}.safetensors"'
        text = text.replace(line, f'expert = "both.safetensors"\ntower = "{prefix}"')
    suite.write_text(text)
    return folder / "both.safetensors"


def test_two_tasks_share_a_file_but_no_answer(tiny: Path, workspace: Path) -> None:
    recipe = ("averaging", {})
    first = open_suite(str(tiny), workspace)
    evaluator = Evaluator(first, workspace, "cpu")
    expected = evaluator.measure(evaluator.recipe(*recipe)).summary()
    both = in_one_file(tiny)
    suite = open_suite(str(tiny), workspace)
    assert suite.expert("Reds").path == suite.expert("Blues").path == both
    assert suite.expert("Reds").digest != suite.expert("Blues").digest
    again = Evaluator(suite, workspace, "cpu")
    found = again.measure(again.recipe(*recipe)).summary()
    assert found["tasks"] == expected["tasks"]
    assert check_suite(str(tiny), workspace).findings == []
    swapped = tiny.read_text().replace("student.", "x").replace("teacher.", "student.").replace('"x"', '"teacher."')
    tiny.write_text(swapped)
    other = Evaluator(open_suite(str(tiny), workspace), workspace, "cpu")
    crossed = other.measure(other.recipe(*recipe)).summary()
    assert [row["expert_accuracy"] for row in crossed["tasks"]] != [row["expert_accuracy"] for row in expected["tasks"]]


def test_a_suite_without_the_key_is_refused_in_every_command(
    tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_one_file(tiny)
    tiny.write_text(tiny.read_text().replace('tower = "teacher."\n', ""))
    (finding,) = check_suite(str(tiny), workspace).findings
    assert finding.about == "expert Blues (original)"
    assert main(["measure", str(tiny), "--method", "averaging", "--workspace", str(workspace)]) == 2
    assert 'choose with tower = "student."' in capsys.readouterr().err


def test_the_pretrained_model_is_chosen_likewise(tiny: Path, workspace: Path) -> None:
    path = tiny.parent / "pretrained.safetensors"
    tensors = load_file(path)
    other = {key: value + 1 for key, value in tensors.items()}
    save_file(under("model.", tensors) | under("model_ema.", other), path)
    with pytest.raises(InputError, match=r'"model\.", "model_ema\."'):
        _ = open_suite(str(tiny), workspace).zero_shot
    tiny.write_text(tiny.read_text().replace("[model]", '[model]\ntower = "model."'))
    suite = open_suite(str(tiny), workspace)
    assert torch.equal(suite.zero_shot["visual.proj"], tensors["visual.proj"])
    assert check_suite(str(tiny), workspace).findings == []


@pytest.mark.parametrize("value", ["3", "true", '["a."]'])
def test_the_key_must_be_text(value: str, tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace('name = "Reds"', f'name = "Reds"\ntower = {value}'))
    with pytest.raises(InputError, match=r"\[\[task\]\] 1 \(Reds\): tower: must be text"):
        open_suite(str(tiny))


def test_a_merged_file_is_chosen_on_the_command_line(
    tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = in_one_file(tiny)
    command = ["measure", str(tiny), "--merged", str(both), "--json", "--workspace", str(workspace)]
    assert main(command) == 2
    assert "--tower beside --merged" in capsys.readouterr().err
    drifts = []
    for tower in ("student.", "teacher."):
        assert main([*command, "--tower", tower]) == 0
        rows = json.loads(capsys.readouterr().out)["tasks"]
        drifts.append({row["task"]: row["interference"] for row in rows})
    assert drifts[0]["Reds"] == drifts[1]["Blues"] == pytest.approx(0, abs=1e-6)
    assert drifts[0]["Blues"] > 1e-4 < drifts[1]["Reds"]


# --- folders and heads --------------------------------------------------------------------------------------------


def test_a_folder_with_several_files_of_weights_says_which_was_read(tmp_path: Path) -> None:
    folder = hugging_face_folder(tmp_path / "x", hugging_face(ONE), "CLIPVisionModelWithProjection")
    assert read_tower(read_checkpoint(folder)).remarks == ()
    torch.save(hugging_face(TWO), folder / "pytorch_model.bin")
    tower = read_tower(read_checkpoint(folder))
    said = f"{folder}: holds several files of weights; model.safetensors was read, pytorch_model.bin not."
    assert tower.remarks == (said,)
    assert torch.equal(tower.tensors["visual.proj"], ONE["visual.proj"])
    save_file(TWO, folder / "open_clip_model.safetensors")
    tower = read_tower(read_checkpoint(folder))
    assert "open_clip_model.safetensors was read, model.safetensors, pytorch_model.bin not." in tower.remarks[0]
    assert torch.equal(tower.tensors["visual.proj"], TWO["visual.proj"])
    assert read_tower(read_checkpoint(folder / "pytorch_model.bin")).remarks == ()


@pytest.mark.parametrize(
    "name", ["encoder.layers.0.gate", "encoder.layers.1.self_attn.q_norm.weight", "head.probe", "encoder.extra.weight"]
)
@pytest.mark.parametrize("prefix", ["vision_model.", "model.vision_model.", ""])
def test_a_tensor_that_clip_has_not_is_no_entry_that_is_not_needed(name: str, prefix: str, tmp_path: Path) -> None:
    if prefix == "" and name == "head.probe":
        return  # without a prefix it may be anybody's
    save_file(hugging_face(ONE, prefix) | {prefix + name: torch.ones(3)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=f"tensor 'vision_model.{name}' in the vision model, which CLIP's does not"):
        read_tower(read_checkpoint(tmp_path / "x.safetensors"))


@pytest.mark.parametrize(
    "tensors",
    [
        {"head.weight": torch.ones(3, 16), "aux.weight": torch.ones(3, 16)},
        {"0.weight": torch.ones(16, 16), "2.weight": torch.ones(3, 16)},
        {"fc.weight": torch.ones(3, 16), "norm.weight": torch.ones(16)},
        {"weight": torch.ones(3, 16), "logit_scale": torch.tensor(4.6)},
        {"model": {"weight": torch.ones(3, 16)}, "ema": {"weight": torch.zeros(3, 16)}},
    ],
)
def test_a_file_with_two_heads_or_more_than_one_is_no_head(tensors: Tensors, tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "head.pt")
    with pytest.raises(InputError, match=r"head\.pt: expected one head, .* found \w"):
        load_head(tmp_path / "head.pt", None, 16)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int64, torch.complex64, torch.bool])
def test_heads_of_other_numbers_are_named(dtype: torch.dtype, tmp_path: Path) -> None:
    for key, shape in (("weight", (3, 16)), ("bias", (3,))):
        tensors = {"weight": torch.ones(3, 16), "bias": torch.zeros(3)} | {key: torch.ones(shape).to(dtype)}
        torch.save(tensors, tmp_path / "head.pt")
        with pytest.raises(InputError, match=f"'{key}' must be float16, .* found {dtype}"):
            load_head(tmp_path / "head.pt", None, 16)
