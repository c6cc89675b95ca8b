"""Merging: one method a file, its hyperparameters declared beside it."""

from ri_analysis.merging.merge import direction, merge
from ri_analysis.merging.method import Method
from ri_analysis.merging.recipe import MergeRecipe
from ri_analysis.merging.registry import METHODS, find_method
from ri_analysis.merging.to_file import merge_to_file, recipe_of

__all__ = ["METHODS", "MergeRecipe", "Method", "direction", "find_method", "merge", "merge_to_file", "recipe_of"]
