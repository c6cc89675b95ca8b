"""Resolving Interference: adapt each expert on unlabelled auxiliary images before merging."""

from ri_analysis.resolving.evidence import HeldOut
from ri_analysis.resolving.forecast import Forecast, Pace, forecast, pace
from ri_analysis.resolving.objective import DISTANCES, Objective, Terms, unit
from ri_analysis.resolving.plan import Unfinished, unfinished
from ri_analysis.resolving.presets import PRESETS, Preset, find_preset
from ri_analysis.resolving.record import Record, record_of
from ri_analysis.resolving.settings import HYPERPARAMETERS, identity, relevant
from ri_analysis.resolving.trainer import Losses, cost, default_settings, resolve, trained_passes

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
    "Record",
    "Terms",
    "Unfinished",
    "cost",
    "default_settings",
    "find_preset",
    "forecast",
    "identity",
    "pace",
    "record_of",
    "relevant",
    "resolve",
    "trained_passes",
    "unfinished",
    "unit",
]
