"""Plug-ins: what they add, what their source changes, and what is said of those that can't be used."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from inspect import unwrap
from pathlib import Path

import outside
import pytest
import torch

from ri_analysis import plugins
from ri_analysis.analyses import ANALYSES, find_analysis
from ri_analysis.checkpoints.writer import read_metadata
from ri_analysis.engine import Evaluator
from ri_analysis.errors import InputError
from ri_analysis.export.facts import answer_commands, command
from ri_analysis.export.snapshot import versions
from ri_analysis.merging import METHODS, find_method, merge_to_file
from ri_analysis.merging.registry import RESERVED
from ri_analysis.sides import Sides
from ri_analysis.studies import STUDIES, find_study
from ri_analysis.studies.conducting.conduct import plan
from ri_analysis.studies.conducting.tables import KeptTable
from ri_analysis.studies.study import METHOD


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[Path]]:
    folder = tmp_path / "mine"
    with outside.all_kinds(folder) as paths:
        yield paths


def load(*paths: Path | str) -> list[str]:
    said: list[str] = []
    plugins.load(map(str, paths), said.append)
    return said


def change(path: Path) -> None:
    path.write_text(f"{path.read_text(encoding='utf-8')}\n# changed\n", encoding="utf-8")


def test_each_kind_joins_its_registry(files: list[Path]):
    assert load(*files) == []
    assert list(METHODS)[-1] == outside.METHOD
    assert outside.METHOD in METHOD.choices
    assert dict(METHOD.titled)[outside.METHOD] == "Shrunk mean"
    assert find_analysis(outside.ANALYSIS).source
    assert find_study(outside.STUDY).source
    assert load(*files) == []  # once more changes nothing
    for path in files:
        plugins.unload(str(path))
    assert not {outside.METHOD, outside.ANALYSIS, outside.STUDY} & {*METHODS, *ANALYSES, *STUDIES}
    assert outside.METHOD not in METHOD.choices


def test_changed_source_is_another_model_and_another_table(files: list[Path], evaluator: Evaluator):
    load(*files)
    study = find_study("methods")
    settings = study.complete(evaluator.suite, {})

    def names() -> list[str]:
        recipe = evaluator.recipe(outside.METHOD)
        return [evaluator.digest(recipe), KeptTable.of_study(study, settings, evaluator).key]

    before = names()
    function = find_method(outside.METHOD).direction
    assert names() == before
    change(files[0])
    assert load(*files) == []
    assert all(old != new for old, new in zip(before, names(), strict=True))
    assert find_method(outside.METHOD).direction is not function


def test_without_plug_ins_names_are_as_ever(files: list[Path], evaluator: Evaluator):
    study, ties = find_study("methods"), evaluator.recipe("ties")
    settings = study.complete(evaluator.suite, {})
    other = find_study("unseen").complete(evaluator.suite, {})

    def names() -> list[str]:
        kept = KeptTable.of_study(find_study("unseen"), other, evaluator)
        return [evaluator.digest(ties), kept.key]

    before, of_all = names(), KeptTable.of_study(study, settings, evaluator).key
    load(*files)
    assert names() == before  # a study that names its methods knows nothing of another
    assert KeptTable.of_study(study, settings, evaluator).key != of_all  # one of all methods does


def test_the_file_of_a_merge_and_provenance_name_the_source(files: list[Path], evaluator: Evaluator, tmp_path: Path):
    load(*files)
    recipe = evaluator.recipe(outside.METHOD, {"share": 0.5})
    merge_to_file(evaluator.task_vectors(), recipe, tmp_path / "merged.safetensors")
    assert read_metadata(tmp_path / "merged.safetensors")["plugin_source"] == find_method(outside.METHOD).source
    assert dict(versions())[f"plug-in {files[0].name}"] == find_method(outside.METHOD).source[:12]
    assert command(recipe, "demo").endswith(f"--plugin {files[0]}")
    assert "--plugin" not in command(evaluator.recipe("ties"), "demo")
    answer = find_analysis(outside.ANALYSIS).ask(evaluator, Sides(evaluator.recipe("ties")), limit=4)
    (asked,) = answer_commands(evaluator, answer, "demo")
    assert f"--plugin {files[1]}" in asked
    assert str(files[0]) not in asked
    study = find_study(outside.STUDY)
    words = study.command("demo", {"method": outside.METHOD})
    assert f"--plugin {files[0]}" in words
    assert f"--plugin {files[2]}" in words


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("METHOD = nothing", "line 1: can't be used as a plug-in: NameError: name 'nothing' is not defined"),
        ("\nMETHOD = (", "line 2: can't be used as a plug-in: SyntaxError"),
        ("import sys; sys.exit(3)", "can't be used as a plug-in: SystemExit: 3"),
        ("x = 1", "declares METHOD, ANALYSIS or STUDY, found none"),
        ("from ri_analysis.merging.ties import METHOD", "declares METHOD, ANALYSIS or STUDY, found none"),
        (
            "from dataclasses import replace\nfrom ri_analysis.merging import ties\nMETHOD = replace(ties.METHOD)",
            "merging method 'ties' exists already",
        ),
        (
            "from dataclasses import replace\nfrom ri_analysis.merging import ties\n"
            "METHOD = replace(ties.METHOD, name='Ti, es')",
            "expected a name of letters",
        ),
        ("import beside\nfrom ri_analysis.merging.ties import METHOD", "expected a plug-in in one file"),
    ],
)
def test_a_broken_one_is_one_message_and_the_rest_goes_on(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
):
    broken = tmp_path / "broken.py"
    broken.write_text(source, encoding="utf-8")
    (tmp_path / "beside.py").write_text("x = 1", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(METHODS)
    (message,) = load(broken, files[0])
    assert message.startswith(str(broken))
    assert said in message
    assert outside.METHOD in METHODS
    plugins.unload(str(files[0]))
    assert before == METHODS


def test_a_folder_brings_all_files_in_it_but_tests(files: list[Path], tmp_path: Path):
    (files[0].parent / "broken.py").write_text("1 / 0", encoding="utf-8")
    (message,) = load(files[0].parent)
    assert "broken.py, line 1" in message
    assert outside.METHOD in METHODS
    assert outside.ANALYSIS in ANALYSES
    assert outside.STUDY in STUDIES
    (tmp_path / "empty").mkdir()
    (message,) = load(tmp_path / "empty")
    assert "expected a plug-in, found" in message
    assert "directory" in message


def test_a_file_that_is_not_there_is_one_message(tmp_path: Path):
    (message,) = load(tmp_path / "none.py")
    assert "expected a plug-in, found none" in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_or_device_is_no_plug_in(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.py")
    for path in (tmp_path / "pipe.py", Path("/dev/zero")):
        (message,) = load(path)
        assert message.endswith("expected a plug-in, found a device or pipe")


def test_hyperparameters_have_no_name_that_python_takes(files: list[Path]):
    for name in (RESERVED[0], "two words"):
        text = files[0].read_text(encoding="utf-8")
        files[0].with_name("named.py").write_text(text.replace('"share",', f'"{name}",'), encoding="utf-8")
        (message,) = load(files[0].with_name("named.py"))
        assert f"another name for hyperparameter '{name}'" in message


def test_what_a_plug_in_defines_can_be_pickled(files: list[Path]):
    load(*files)
    function = unwrap(find_method(outside.METHOD).direction)
    assert pickle.loads(pickle.dumps(function)) is function


def test_an_installed_package_is_named_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "merging_lab"
    outside.write(package, "method", "lab-mean")
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "helpers.py").write_text("HALF = 0.5\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("lab", "merging_lab.lab_mean", plugins.GROUP)
    monkeypatch.setattr(plugins, "_entry_points", lambda: {"lab": entry})
    assert plugins.installed() == ["lab"]
    try:
        assert load("lab") == []
        source = find_method("lab-mean").source
        assert plugins.flags(source) == []  # it is there without a flag
        assert ("plug-in lab", source[:12]) in versions()
    finally:
        plugins.unload("lab")
        for name in [name for name in sys.modules if name.startswith("merging_lab")]:
            del sys.modules[name]
    change(package / "helpers.py")  # any file of the package
    try:
        load("lab")
        assert find_method("lab-mean").source != source
    finally:
        plugins.unload("lab")


def with_body(path: Path, body: str) -> None:
    """Have the method in a file do something else."""
    source = path.read_text(encoding="utf-8")
    head = next(line for line in source.splitlines() if line.startswith("def "))
    path.write_text(source.replace(head, f"{head}\n    {body}\n"), encoding="utf-8")


@pytest.mark.parametrize("body", ["return layer.deltas", "return layer.deltas.sum()", "return 0.0"])
def test_a_direction_of_another_shape_is_refused(files: list[Path], evaluator: Evaluator, body: str):
    with_body(files[0], body)
    assert load(files[0]) == []
    with pytest.raises(InputError, match=rf"{outside.METHOD}: expected a tensor of shape \(.*\) for visual"):
        evaluator.measure(evaluator.recipe(outside.METHOD))


@pytest.mark.parametrize("body", ["return layer.pretrained", "return layer.pretrained.double()"])
def test_a_direction_may_be_a_view_and_of_another_type(files: list[Path], evaluator: Evaluator, body: str):
    with_body(files[0], body)
    assert load(files[0]) == []
    before = {name: tensor.clone() for name, tensor in evaluator.suite.zero_shot.items()}
    merged = dict(evaluator.merged(evaluator.recipe(outside.METHOD, {"scale": 1.0})))
    for name, tensor in evaluator.suite.zero_shot.items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)  # θ₀ itself is not added to
        torch.testing.assert_close(merged[name], 2 * tensor)


def test_a_direction_that_is_no_dense_tensor_of_real_numbers_is_refused(files: list[Path], evaluator: Evaluator):
    for how in (".to('meta')", ".to(torch.complex64)", ".to_sparse()"):
        source = files[0].read_text("utf-8")
        with_body(files[0], f"import torch; return layer.deltas.mean(0){how}")
        assert load(files[0]) == []
        with pytest.raises(InputError, match=f"{outside.METHOD}: expected a dense tensor of real numbers for visual"):
            dict(evaluator.merged(evaluator.recipe(outside.METHOD)))
        files[0].write_text(source, encoding="utf-8")


def test_what_a_method_writes_into_changes_no_other_merge(files: list[Path], evaluator: Evaluator):
    with_body(files[0], "layer.pretrained.zero_(); layer.deltas.zero_()")
    assert load(files[0]) == []
    before = {name: tensor.clone() for name, tensor in evaluator.merged(evaluator.recipe("ties"))}
    list(evaluator.merged(evaluator.recipe(outside.METHOD)))
    for name, tensor in evaluator.merged(evaluator.recipe("ties")):
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("import torch; torch.set_default_dtype(torch.float64)", "torch's default dtype"),
        ("import torch; torch.set_grad_enabled(not torch.is_grad_enabled())", "whether torch computes gradients"),
        ("import torch; torch.set_float32_matmul_precision('medium')", "the precision of torch's products"),
        ("import numpy; numpy.seterr(all='raise')", "how NumPy treats errors"),
        ("import os; os.chdir(os.sep)", "the current folder"),
        ("import os; os.environ['RI_ANALYSIS_LIMITS'] = 'recipes=1'", "variables RI_ANALYSIS_…"),
    ],
)
def test_what_holds_for_the_whole_process_stays(files: list[Path], evaluator: Evaluator, body: str, what: str):
    before = {name: look() for name, (look, _) in plugins._process().items()}
    source = files[0].read_text("utf-8")
    files[0].write_text(f"{source}\n{body}\n", encoding="utf-8")
    (said,) = load(files[0])
    assert str(files[0]) in said
    assert f"it changed {what}" in said
    assert {name: look() for name, (look, _) in plugins._process().items()} == before
    files[0].write_text(source, encoding="utf-8")
    with_body(files[0], body)
    assert load(files[0]) == []
    with pytest.raises(InputError, match=f"method '{outside.METHOD}': expected to leave the process .* changed {what}"):
        dict(evaluator.merged(evaluator.recipe(outside.METHOD)))
    assert {name: look() for name, (look, _) in plugins._process().items()} == before


def test_a_method_does_not_end_the_process(files: list[Path], evaluator: Evaluator):
    with_body(files[0], "raise SystemExit(3)")
    assert load(files[0]) == []
    with pytest.raises(InputError, match=f"method '{outside.METHOD}' failed: SystemExit: 3"):
        dict(evaluator.merged(evaluator.recipe(outside.METHOD)))


def test_another_file_that_is_imported_later_is_refused(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Answers are kept under a digest of the plug-in: that of the other file's changes would be unnoticed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "some_helper.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    with_body(files[0], "from some_helper import VALUE")
    (said,) = load(files[0])
    assert "found that it imports" in said
    assert "some_helper.py" in said


def test_an_error_within_a_method_is_one_message(files: list[Path], evaluator: Evaluator):
    with_body(files[0], "return layer.deltas / None")
    assert load(files[0]) == []
    (line,) = (n for n, text in enumerate(files[0].read_text("utf-8").splitlines(), 1) if "/ None" in text)
    with pytest.raises(InputError) as raised:
        evaluator.measure(evaluator.recipe(outside.METHOD))
    assert str(raised.value).startswith(f"{files[0]}, line {line}: method '{outside.METHOD}' failed: TypeError: ")


def test_an_error_within_a_study_s_rounds_is_one_message(files: list[Path], evaluator: Evaluator):
    text = files[2].read_text("utf-8")
    files[2].write_text(text.replace("    return pd.DataFrame(rows)\n", "    return [][1]\n"), encoding="utf-8")
    assert load(files[2]) == []
    study = find_study(outside.STUDY)
    with pytest.raises(InputError, match=f"study '{outside.STUDY}' failed: IndexError"):
        plan(study.rounds(evaluator, study.complete(evaluator.suite, {})), evaluator)


def test_memory_that_runs_out_and_a_stop_are_no_fault_of_a_plug_in(files: list[Path], evaluator: Evaluator):
    for body, error in (("raise MemoryError", MemoryError), ("raise RuntimeError('CUDA out of memory')", RuntimeError)):
        source = files[0].read_text("utf-8")
        with_body(files[0], body)
        assert load(files[0]) == []
        with pytest.raises(error) as raised:
            dict(evaluator.merged(evaluator.recipe(outside.METHOD)))
        assert not isinstance(raised.value, InputError)
        files[0].write_text(source, encoding="utf-8")


def test_what_a_plug_in_prints_is_no_result(
    files: list[Path], evaluator: Evaluator, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    files[0].write_text(f"{files[0].read_text('utf-8')}\nprint('hello')\n", encoding="utf-8")
    assert load(files[0]) == []
    assert tuple(capsys.readouterr()) == ("", "hello\n")
    with_body(files[0], "print('again')")
    assert load(files[0]) == []
    capsys.readouterr()
    list(evaluator.merged(evaluator.recipe(outside.METHOD)))
    out, err = capsys.readouterr()
    assert out == ""
    assert "again" in err


def test_a_worker_takes_no_other_version(files: list[Path]):
    load(*files)
    wanted = plugins.loaded()
    plugins.load_same(wanted)
    change(files[0])
    with pytest.raises(InputError, match="that the study began with, found another: its file has changed"):
        plugins.load_same(wanted)
    files[1].unlink()
    plugins.unload(str(files[1]))
    with pytest.raises(InputError, match="expected a plug-in, found none"):
        plugins.load_same({name: source for name, source in wanted.items() if name == str(files[1])})


def test_names_that_clash_between_plug_ins_are_refused(files: list[Path], tmp_path: Path):
    load(files[0])
    twin = outside.write(tmp_path / "twin", "method", outside.METHOD)
    first = find_method(outside.METHOD)
    (message,) = load(twin)
    assert f"'{outside.METHOD}' exists already" in message
    assert find_method(outside.METHOD) is first


def test_a_registry_says_what_there_is():
    with pytest.raises(InputError, match="unknown study 'method'; did you mean 'methods'"):
        find_study("method")


def test_a_name_that_stands_for_several_is_refused(tmp_path: Path):
    with outside.all_kinds(tmp_path / "mine") as paths:
        method = paths[0]
        method.write_text(method.read_text().replace(f'"{outside.METHOD}"', '"all"'))
        assert any("merging method 'all': expected another name" in said for said in load(method))
