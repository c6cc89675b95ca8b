"""Measures: what logits say of accuracy and interference."""

from ri_analysis.measures.accuracy import SHARES, accuracy_table, mean_accuracy, mean_normalised_accuracy
from ri_analysis.measures.interference import (
    crosstalk_table,
    interference_table,
    mean_interference,
    off_diagonal_mean,
)

__all__ = [
    "SHARES",
    "accuracy_table",
    "crosstalk_table",
    "interference_table",
    "mean_accuracy",
    "mean_interference",
    "mean_normalised_accuracy",
    "off_diagonal_mean",
]
