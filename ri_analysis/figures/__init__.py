"""Figures: tables → Plotly figures, one function a figure, one look for all."""

from ri_analysis.figures.accuracy import accuracy_bars, accuracy_by_task
from ri_analysis.figures.clouds import clouds
from ri_analysis.figures.headline import headline
from ri_analysis.figures.interference import interference_by_task
from ri_analysis.figures.losses import loss_curves
from ri_analysis.figures.pinned import pinned

__all__ = [
    "accuracy_bars",
    "accuracy_by_task",
    "clouds",
    "headline",
    "interference_by_task",
    "loss_curves",
    "pinned",
]
