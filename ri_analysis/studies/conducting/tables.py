"""Tables of studies that are kept: what was conducted once is there at once, without its points."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from ri_analysis.engine import Evaluator
from ri_analysis.engine.results import Kept, packed_table, packed_text, table_of, text_of
from ri_analysis.engine.store import Record
from ri_analysis.engine.task_statistics import VERSION as STATISTICS
from ri_analysis.files import file_digest
from ri_analysis.hyperparameters import Value
from ri_analysis.merging import METHODS
from ri_analysis.resolving import record_of
from ri_analysis.studies.conducting import adaptation
from ri_analysis.studies.conducting.conduct import Plan
from ri_analysis.studies.study import Study, names_method
from ri_analysis.suite import ORIGINAL, Suite
from ri_analysis.suite.spec import AuxiliarySpec, TaskSpec, UnseenSpec


class Conducted(NamedTuple):
    """A study's table, and the number of pieces of work that it is made of."""

    table: pd.DataFrame
    works: int

    @property
    def plan(self) -> Plan:
        """What is left to do: nothing."""
        return Plan(self.works, self.works, 0)


def _kept(name: str, version: str) -> Kept[Conducted]:
    return Kept(
        name,
        version,
        lambda found: {"table": packed_table(found.table), "works": packed_text(found.works)},
        lambda arrays: Conducted(table_of(arrays["table"]), text_of(arrays["works"])),
    )


class KeptTable:
    """The place in the store of one table: what it is called, and under which name it lies.

    Without a `version` nothing is kept, which is right for a study that is being written. `sources` are the digests of
    plug-ins that it depends on.
    """

    def __init__(
        self, evaluator: Evaluator, name: str, version: str, about: object, sources: Sequence[list[str]] = ()
    ) -> None:
        self._kept, self._evaluator, self._name = _kept(name, version), evaluator, name
        surroundings = [*_surroundings(evaluator, about), *sources]
        parts = json.dumps([about, surroundings], sort_keys=True, default=str) if version else ""
        self.key = self._kept.key(parts) if version else ""

    @classmethod
    def of_study(cls, study: Study, settings: Mapping[str, Value], evaluator: Evaluator) -> KeptTable:
        """Return the place of a study's table."""
        added = {name: method.source for name, method in METHODS.items() if method.source}
        used = [[name, source] for name, source in added.items() if study.every_method or names_method(settings, name)]
        own = [[study.name, study.source]] if study.source else []
        own += [["methods", *sorted(METHODS)]] if study.every_method else []  # else a new one would be missed
        return cls(evaluator, f"study {study.name}", study.version, dict(settings), [*own, *used])

    def find(self) -> Conducted | None:
        """Return the table, None where it is not kept."""
        return self._kept.find(self._evaluator.store, self.key) if self.key else None

    def keep(self, table: pd.DataFrame, works: int, seconds: float) -> pd.DataFrame:
        """Keep a table; return it as `find` does."""
        if not self.key:
            return table
        record = Record.of({"suite": self._evaluator.suite.name, "table": self._name}, seconds)
        return self._kept.keep(self._evaluator.store, self.key, Conducted(table, works), record).table

    @property
    def shipped(self) -> bool:
        """Whether the table is one that came with the suite."""
        return bool(self.key) and self._evaluator.store.is_shipped(self.key)


def _surroundings(evaluator: Evaluator, about: object) -> list[object]:
    """Return all of a suite that a study may look at: it may merge, adapt and measure anything of it.

    Of the expert sets these are the originals, the default set, and those that `about` names: other sets in a
    workspace change no study.
    """
    suite = evaluator.suite
    named = json.dumps(about, default=str)
    sets = [name for name in suite.expert_sets if name in (ORIGINAL, suite.default_resolved) or name in named]
    records = {name: record_of(suite, name) for name in sets if name != ORIGINAL}
    measured = evaluator.measurement
    return [
        [STATISTICS, adaptation.VERSION, "1", suite.preprocessing.digest],  # "1": tables of before keep their names
        [measured.images_name(section, None) for section in evaluator.sections(suite.tasks)],
        [[task.name, task.labels, task.images_per_class, _content(suite, task)] for task in suite.spec.tasks],
        [[name, list(suite.weight_digests(name).items()), records.get(name)] for name in sets],
        [suite.default_resolved],
        [
            [item.name, item.oracle, item.generator, item.seed, item.count, _content(suite, item)]
            for item in suite.spec.auxiliary
        ],
        [[item.name, list(item.tasks), item.labels, _content(suite, item)] for item in suite.spec.unseen],
    ]


def _content(suite: Suite, item: TaskSpec | AuxiliarySpec | UnseenSpec) -> str:
    """Return the name of an item's images, of a task's validation images: a file is named without being decoded."""
    path = item.validation if isinstance(item, TaskSpec) else item.data
    if path is None:
        return ""
    if path.is_file():
        return file_digest(path)
    if isinstance(item, TaskSpec):
        return suite.task_data(item.name, "validation").digest
    return (suite.unseen_data if isinstance(item, UnseenSpec) else suite.auxiliary_data)(item.name).digest
