"""Resolving Interference: adapt each expert on unlabelled auxiliary images before merging."""

from ri_analysis.resolving.objective import Objective, Terms
from ri_analysis.resolving.trainer import HYPERPARAMETERS, ResolveProgress, default_settings, resolve, unfinished

__all__ = ["HYPERPARAMETERS", "Objective", "ResolveProgress", "Terms", "default_settings", "resolve", "unfinished"]
