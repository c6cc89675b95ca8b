"""The documents and the site's generated pages: their commands are understood, and their Python runs."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import declared
import outside
import pytest

from ri_analysis import plugins
from ri_analysis.analyses import ANALYSES
from ri_analysis.analyses.report import chosen
from ri_analysis.cli.flags import pairs
from ri_analysis.cli.run import build_parser
from ri_analysis.hyperparameters import complete
from ri_analysis.merging import METHODS, find_method
from ri_analysis.studies import STUDIES, find_study

pytestmark = pytest.mark.long

ROOT = declared.ROOT
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "assets/demo/README.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
ELSEWHERE = {
    "trimmed-mean",
    "my-method",
    "confidence",
    "pairs",
}  # examples of plug-ins, run by tests/test_contributing.py
_SYNOPSIS = re.compile(r"\[[A-Z-]|…")
_BLOCK = re.compile(r"^```bash\n(.*?)^```$|((?:^ {4}.*\n)+)", re.M | re.S)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return declared.pages()


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of ours in a text's blocks of code, and in what says how a result was made."""
    blocks = ["".join(groups) for groups in _BLOCK.findall(text)] + re.findall(r"Made by `([^`]+)`", text)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        for part in re.split(r"&& ", line):
            called = re.match(r"\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?ri-analysis (.*)", part)
            if called and not _SYNOPSIS.search(part) and "--help" not in part:
                yield shlex.split(called[1], comments=True)


def understood(words: list[str]) -> None:
    """Read a command as the shell's would be, and its settings by the declarations."""
    options = build_parser().parse_args(words)
    if ELSEWHERE & {getattr(options, "method", ""), getattr(options, "name", ""), *getattr(options, "only", [])}:
        return
    if hasattr(options, "method"):
        complete(find_method(options.method).hyperparameters, pairs(options.set, "--set"), options.method)
    if options.command == "study":
        study = find_study(options.name)
        complete(study.settings, pairs(options.set, "--set"), study.name)
    if options.command == "interference":
        asked = {analysis.name: analysis for analysis in chosen(options.only)}
        for option in pairs(options.option, "--option"):
            owner, _, name = option.rpartition(".")
            (analysis,) = [asked[owner]] if owner else asked.values()
            assert name in [item.name for item in analysis.options]


def test_every_entry_has_its_page(pages: dict[str, str]):
    for folder, registry in (("methods", METHODS), ("analyses", ANALYSES), ("studies", STUDIES)):
        assert {f"{folder}/{name}.md" for name in registry} == {
            path for path in pages if path.startswith(f"{folder}/") and not path.endswith("/index.md")
        }
        for name, entry in registry.items():
            assert pages[f"{folder}/{name}.md"].startswith(f"# {entry.title}\n")
            assert f"[{entry.title}]({name}.md)" in pages[f"{folder}/index.md"]


def test_a_methods_page_says_what_is_declared(pages: dict[str, str]):
    page = pages["methods/ties.md"]
    method = METHODS["ties"]
    for text in (method.summary, f"$${method.formula}$$", method.reference, "`ri_analysis/merging/ties.py`"):
        assert text in page
    assert (
        "| `density` | Share of each expert's entries that is kept | `0.2` | a number from 0.001 to 1 | 0.05 to 1 |"
        in page
    )
    assert next(commands(page))[2:] == shlex.split("--method ties --set scale=0.3 --set density=0.2 --set merge=sum")
    assert "validation" not in page
    assert "unlabelled `validation` images" in pages["methods/regmean.md"]


def test_a_studys_page_has_what_the_document_says_was_found(pages: dict[str, str]):
    said = re.findall(r"^\*\*Here\*\*, on .*$", (ROOT / "docs" / "studies.md").read_text(encoding="utf-8"), re.M)
    assert len(said) >= len(STUDIES)
    assert [text for text in said if not any(text in pages[f"studies/{name}.md"] for name in STUDIES)] == []


def test_a_plug_in_has_its_page_and_its_commands_load_it(tmp_path: Path):
    with outside.all_kinds(tmp_path / "mine") as paths:
        plugins.load(map(str, paths), pytest.fail)
        found = declared.pages()
    for path, page in zip(
        paths, (f"methods/{outside.METHOD}", f"analyses/{outside.ANALYSIS}", f"studies/{outside.STUDY}"), strict=True
    ):
        words = [word for command in commands(found[f"{page}.md"]) for word in command]
        assert words.count("--plugin") == words.count(str(path)) >= 2
        assert f'open_suite("demo", plugins=["{path}"])' in found[f"{page}.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_of_documents_are_understood(document: str):
    for words in commands((ROOT / document).read_text(encoding="utf-8")):
        understood(words)


def test_commands_of_pages_are_understood(pages: dict[str, str]):
    found = [words for text in pages.values() for words in commands(text)]
    assert len(found) >= 3 * len(METHODS) + 2 * len(ANALYSES) + 2 * len(STUDIES)
    for words in found:
        understood(words)


def test_a_command_that_is_wrong_is_found():
    with pytest.raises(SystemExit):
        understood(["measure", "demo", "--methd", "ties"])
    with pytest.raises(Exception, match="unknown hyperparameter 'densty'; did you mean 'density'"):
        understood(["measure", "demo", "--method", "ties", "--set", "densty=0.2"])


def run(page: str, text: str, tiny: Path, workspace: Path) -> dict[str, object]:
    """Run a page's Python on the tiny suite; return its names."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert source.count('ri.open_suite("demo")') == 1
    opened = f"ri.open_suite({str(tiny)!r}, workspace={str(workspace)!r}, device='cpu')"
    names: dict[str, object] = {}
    with warnings.catch_warnings(action="ignore"):
        exec(compile(source.replace('ri.open_suite("demo")', opened), page, "exec"), names)
    return names


def test_python_of_methods_runs(pages: dict[str, str], tiny: Path, workspace: Path):
    for name in METHODS:
        run(name, pages[f"methods/{name}.md"], tiny, workspace)


def differ_by_name_alone(pages: dict[str, str], folder: str, names: Iterable[str]) -> bool:
    """Whether the Python of these pages is the same but for their names, so that what runs for some runs for all."""
    python = {name: pages[f"{folder}/{name}.md"].partition("```python")[2] for name in names}
    return len({text.replace(f'"{name}"', "NAME") for name, text in python.items()}) == 1


def test_python_of_studies_runs(pages: dict[str, str], tiny: Path, workspace: Path):
    assert differ_by_name_alone(pages, "studies", STUDIES)
    for name in ("alone", "averaging", "joint", "unseen"):  # a second each
        assert run(name, pages[f"studies/{name}.md"], tiny, workspace)["study"].says


def test_python_of_analyses_runs(pages: dict[str, str], tiny: Path, workspace: Path):
    assert differ_by_name_alone(pages, "analyses", ANALYSES)
    for name in set(ANALYSES) - {"plane"}:  # as long as all others
        assert run(name, pages[f"analyses/{name}.md"], tiny, workspace)["found"].says
