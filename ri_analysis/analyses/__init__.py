"""Analyses: questions about one merge, one a file."""

from ri_analysis.analyses.analysis import Analysis, Answer, Columns, Option
from ri_analysis.analyses.registry import ANALYSES, find_analysis, on_page

__all__ = ["ANALYSES", "Analysis", "Answer", "Columns", "Option", "find_analysis", "on_page"]
