from __future__ import annotations

import gzip
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ri_analysis.cli import main
from ri_analysis.engine import check_suite
from ri_analysis.suite import NotASuite, suite_path
from ri_analysis.suite.instead import look

SUITE = "[model]\n[[task]]\n"
TENSORS = {"visual.proj": torch.zeros(2, 2)}


def _torch(path: Path) -> None:
    torch.save(TENSORS, path)


def _old_torch(path: Path) -> None:
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("suite.toml", "")


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "suite.toml")


WRITERS = {
    "a checkpoint, new": ("x.pt", _torch),
    "a checkpoint, old": ("x.pt", _old_torch),
    "a checkpoint, pickled": ("x.bin", lambda path: path.write_bytes(pickle.dumps({"a": 1}))),
    "a checkpoint, safetensors": ("x.safetensors", lambda path: save_file(TENSORS, path)),
    "a checkpoint, without a suffix": ("x", _torch),
    "an archive, zip": ("x.zip", _zip),
    "an archive, tar": ("x.tar", _tar),
    "an archive, gz": ("x.toml.gz", lambda path: path.write_bytes(gzip.compress(b"[model]"))),
    "an image, png": ("x.png", lambda path: Image.new("RGB", (2, 2)).save(path)),
    "an image, jpg": ("x.jpg", lambda path: Image.new("RGB", (2, 2)).save(path)),
    "an array file, npz": ("x.npz", lambda path: np.savez(path, images=np.zeros(2))),
    "an array file, npy": ("x.npy", lambda path: np.save(path, np.zeros(2))),
    "an empty file": ("suite.toml", lambda path: path.touch()),
    "a file that holds no text": ("x.toml", lambda path: path.write_bytes(b"a = 1\n\xff\xfe")),
    "JSON": ("x.json", lambda path: path.write_text("{}")),
    "YAML": ("x.yaml", lambda path: path.write_text("a: 1")),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_no_suite_file_is_called_what_it_is(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, write = WRITERS[kind]
    path = tmp_path / name
    write(path)
    said = f"{path}: expected a suite file, found {kind.partition(',')[0]}"
    with pytest.raises(NotASuite, match="expected a suite file"):
        suite_path(str(path))
    (finding,) = check_suite(str(path), tmp_path / "workspace").findings
    assert finding.problem == said
    assert main(["measure", str(path), "--workspace", str(tmp_path / "workspace")]) == 2
    assert capsys.readouterr().err.startswith(f"ri-analysis: {said}; ")


def test_text_is_left_to_the_suites_reader(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("ä" * 400)  # the first bytes end within a character
    assert look(path) is None
    path.write_text("name = ")
    assert suite_path(str(path)) == path


def test_a_checkpoint_leads_to_a_draft_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my experts"
    folder.mkdir()
    _torch(folder / "finetuned.pt")
    found = look(folder / "finetuned.pt")
    assert found is not None
    assert found.folder == folder
    assert f"`ri-analysis init '{folder}'` writes one" in found.remedy


def test_a_folder_offers_the_suite_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "mine.toml").write_text(SUITE)
    found = look(tmp_path)
    assert found is not None
    assert (found.found, found.remedy) == ("a folder that holds no suite.toml but mine.toml", "open it instead")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "suite.toml").write_text(SUITE)
    found = look(tmp_path)
    assert found is not None
    assert found.suites == (tmp_path / "mine.toml", tmp_path / "b" / "suite.toml")
    assert "one of them" in found.remedy
    (tmp_path / "suite.toml").write_text(SUITE)
    assert suite_path(str(tmp_path)) == tmp_path / "suite.toml"


def test_a_folder_without_any_says_what_a_suite_file_names(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert found is not None
    assert found.found == "a folder without a suite.toml"
    assert found.folder == tmp_path
    _torch(tmp_path / "MNIST.pt")
    found = look(tmp_path)
    assert found is not None
    assert found.found == "a folder with MNIST.pt but no suite.toml"
    assert f"`ri-analysis init {tmp_path}` writes one" in found.remedy


def test_a_misspelt_embedded_suite_gets_the_near_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "demo-halfs"]) == 2
    assert "did you mean 'demo-halves'?" in capsys.readouterr().err
