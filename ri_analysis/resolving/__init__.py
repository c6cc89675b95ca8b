"""Resolving Interference: adapt each expert on unlabelled auxiliary images before merging."""

from ri_analysis.resolving.evidence import HeldOut
from ri_analysis.resolving.forecast import Forecast, Pace, forecast, pace
from ri_analysis.resolving.objective import DISTANCES, Objective, Terms, unit
from ri_analysis.resolving.plan import Unfinished, unfinished
from ri_analysis.resolving.presets import PRESETS, Preset, find_preset
from ri_analysis.resolving.trainer import (
    HYPERPARAMETERS,
    Losses,
    cost,
    default_settings,
    identity,
    relevant,
    resolve,
    trained_passes,
)

__all__ = [
    "DISTANCES",
    "HYPERPARAMETERS",
    "PRESETS",
    "Forecast",
    "HeldOut",
    "Losses",
    "Objective",
    "Pace",
    "Preset",
    "Terms",
    "Unfinished",
    "cost",
    "default_settings",
    "find_preset",
    "forecast",
    "identity",
    "pace",
    "relevant",
    "resolve",
    "trained_passes",
    "unfinished",
    "unit",
]
