"""Suite files of strangers: what there is too much of is said once, and quickly."""

from __future__ import annotations

from pathlib import Path

import pytest

from ri_analysis.suite.spec import parse_spec

MODEL = '[model]\narchitecture = "ViT-B-32"\npretrained = "a.pt"\n'
TASK = '[[task]]\nname = "{}"\nexpert = "a.pt"\nhead = "a.pt"\ndata = "a"\n'
MANY = {
    "unknown keys": TASK.format("a") + "".join(f"key{number} = 1\n" for number in range(5_000)),
    "unknown tasks": "".join(map(TASK.format, range(300)))
    + f'[[unseen]]\nname = "a"\ndata = "a"\ntasks = {[f"task {number}" for number in range(10_000)]}\n',
    "tables": TASK.format("a") + "".join(f'[[auxiliary]]\nname = "{number}"\n' for number in range(6_000)),
    "letters": TASK.format("a" * 500_000).replace("expert", "expart"),
}


@pytest.mark.parametrize("kind", MANY)
def test_many_findings_are_few_lines(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(MODEL + MANY[kind], encoding="utf-8")
    spec, findings = parse_spec(path)
    assert spec is None
    assert 1 <= len(findings) <= 201
    assert max(map(len, findings)) < 1_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TASK.format("mean"), "name 'mean' is reserved"),
        (TASK.format("pretrained"), "name 'pretrained' is reserved"),  # its drift would be from the pretrained model
        (TASK.format(""), "a name must be printable"),  # `--tasks` would leave it out
        (TASK.format("a "), "a name must be printable"),
        (TASK.format("\\u001b[2J"), "a name must be printable"),
        (TASK.format("a") + '[[unseen]]\nname = "mean"\ntasks = ["a"]\ndata = "a"\n', "name 'mean' is reserved"),
        (TASK.format("a") + '[[unseen]]\nname = "b"\ntasks = ["a", "a"]\ndata = "a"\n', "each once"),
        (TASK.format("a") + '[[unseen]]\nname = "b"\ntasks = []\ndata = "a"\n', "expected tasks"),
    ],
)
def test_names_that_would_mix_numbers_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(MODEL + text)
    spec, findings = parse_spec(tmp_path / "suite.toml")
    assert spec is None
    assert [said in line for line in findings] == [True]
