"""Texts that users read: plain words, one sign for minus, and documents that say what the registries declare."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ri_analysis.analyses.registry import ANALYSES
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS
from ri_analysis.resolving import HYPERPARAMETERS
from ri_analysis.studies import STUDIES
from ri_analysis.studies.output import REPORTED

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
NOT_SAID = re.compile(
    r"\banew\b|carr(y|ied|ies) out|\bto blame\b|\bluck|under your hand|it is not so that|\brests? on\b|foretell|lessen",
    re.I,
)
HYPHEN_AS_MINUS = re.compile(r"(?<![\w.)\]–-])-\d")


def of(item: Hyperparameter) -> Iterator[str]:
    yield from (item.label, item.unit, item.meaning, *item.titles, item.range_text, *getattr(item, "notes", ()))
    if item.each is not None:
        yield from of(item.each)


def declared() -> Iterator[tuple[str, str]]:
    """Yield every text of the registries, with whose it is."""
    for method in METHODS.values():
        yield from ((method.name, text) for text in (method.title, method.summary))
        yield from ((method.name, text) for item in method.hyperparameters for text in of(item))
    for study in STUDIES.values():
        yield from ((study.name, text) for text in (study.title, study.question, study.finding))
        yield from ((study.name, text) for item in study.settings for text in of(item))
    for analysis in ANALYSES.values():
        yield from ((analysis.name, text) for text in (analysis.title, analysis.question))
        yield from ((analysis.name, text) for option in analysis.options for text in of(option))
        for table in analysis.columns.values():
            yield from ((analysis.name, text) for text in (table.row, *table.meaning.values()))
    yield from (("RI", text) for item in HYPERPARAMETERS for text in of(item))


def test_declared_texts_are_plain() -> None:
    found = [(owner, text) for owner, text in declared() if NOT_SAID.search(text) or HYPHEN_AS_MINUS.search(text)]
    assert found == []
    assert len(list(declared())) > 500


def test_every_setting_has_a_label_in_words() -> None:
    items = [item for method in METHODS.values() for item in method.hyperparameters]
    items += [item for study in STUDIES.values() for item in study.settings]
    items += [*HYPERPARAMETERS, *(option for analysis in ANALYSES.values() for option in analysis.options)]
    assert [item.name for item in items if "_" in item.label or len(item.label) < 4] == []
    assert [item.name for item in items if item.unit and item.unit != item.unit.strip()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_plain(path: Path) -> None:
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if NOT_SAID.search(line)] == []


@pytest.mark.parametrize("room", ["merging", "merging/with_data", "studies", "cli", "resolving", "training"])
def test_strings_in_the_code_are_plain(room: str) -> None:
    for path in sorted((ROOT / "ri_analysis" / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not NOT_SAID.search(node.value), f"{path.name}:{node.lineno}: {node.value}"


def test_the_document_on_studies_says_what_they_declare() -> None:
    document = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert f"There are {len(METHODS)} merging methods." in document
    for study in STUDIES.values():
        section = document.partition(f"## {study.title} (`{study.name}`)\n")[2]
        section = section.partition(f"<!-- study {study.name}: end -->")[0]
        assert f"**Question.** {study.question}\n" in section, study.name
        assert not study.finding or f"**{REPORTED}** (not re-run by us): {study.finding}\n" in section, study.name
