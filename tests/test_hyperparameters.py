from __future__ import annotations

import pytest

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Hyperparameter, complete, suggest

DECLARED = (
    Hyperparameter("scale", "λ", 0.3, -2.0, 2.0),
    Hyperparameter("steps", "steps", 10, 1, 100),
    Hyperparameter("merge", "how", "sum", choices=("sum", "mean")),
)


def test_complete_fills_in_and_converts() -> None:
    assert complete(DECLARED, {"scale": "0.5", "steps": "7"}, "m") == {"scale": 0.5, "steps": 7, "merge": "sum"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scael": 1}, "m: unknown hyperparameter 'scael'; did you mean 'scale'"),
        ({"scale": 3}, "m: scale must be a number from -2 to 2, found 3"),
        ({"scale": "nan"}, "scale must be"),
        ({"scale": "wide"}, "found 'wide'"),
        ({"scale": None}, "found None"),
        ({"steps": 2.5}, "steps must be an integer from 1 to 100, found 2.5"),
        ({"merge": "max"}, "merge must be one of sum, mean, found 'max'"),
    ],
)
def test_complete_refuses(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        complete(DECLARED, given, "m")
    assert message in str(error.value)


def test_suggest_lists_what_is_known_without_a_near_match() -> None:
    assert suggest("zzz", ["ties", "dare"]) == "known: ties, dare"
