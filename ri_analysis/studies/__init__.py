"""Studies: questions that take many merges, each from points to a table to figures."""

from ri_analysis.studies.registry import STUDIES, find_study
from ri_analysis.studies.study import Study

__all__ = ["STUDIES", "Study", "find_study"]
