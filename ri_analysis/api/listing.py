"""What there is to choose from, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ri_analysis.analyses import ANALYSES
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS
from ri_analysis.studies import STUDIES


def all_methods() -> pd.DataFrame:
    """Return the merging methods: `method`, `summary`, `hyperparameters` with their defaults, `reference`."""
    rows = ((each.name, each.summary, _defaults(each.hyperparameters), each.reference) for each in METHODS.values())
    return _table(rows, ["method", "summary", "hyperparameters", "reference"])


def all_analyses() -> pd.DataFrame:
    """Return the analyses of a merge: `analysis`, `question`, `options` with their defaults."""
    rows = ((each.name, each.question, _defaults(each.options)) for each in ANALYSES.values())
    return _table(rows, ["analysis", "question", "options"])


def all_studies() -> pd.DataFrame:
    """Return the studies: `study`, `question`, `settings` with their defaults."""
    rows = ((each.name, each.question, _defaults(each.settings)) for each in STUDIES.values())
    return _table(rows, ["study", "question", "settings"])


def _table(rows: Iterable[tuple[str, ...]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns).set_index(columns[0])


def _defaults(declared: Sequence[Hyperparameter]) -> str:
    return ", ".join(f"{item.name}={item.default}" for item in declared)
