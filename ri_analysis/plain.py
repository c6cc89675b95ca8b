"""Tables as plain values, for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain values, None for what is not a number."""
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")]


def plain(value: Any) -> Any:
    """Return a scalar as Python has it, None where it is not finite."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
