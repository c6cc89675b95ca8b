"""The front door in Python, `import ri_analysis as ri`: what the command line does, with results to look at."""

from ri_analysis.api.listing import all_analyses, all_methods, all_studies
from ri_analysis.api.opened import OpenedSuite, Remark, open_suite
from ri_analysis.api.results import Analysed, Interference, Measured, Merged, Resolved, Result, Studied
from ri_analysis.errors import InputError
from ri_analysis.merging import MergeRecipe

__all__ = [
    "Analysed",
    "InputError",
    "Interference",
    "Measured",
    "MergeRecipe",
    "Merged",
    "OpenedSuite",
    "Remark",
    "Resolved",
    "Result",
    "Studied",
    "all_analyses",
    "all_methods",
    "all_studies",
    "open_suite",
]
