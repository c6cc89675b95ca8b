from __future__ import annotations

import pytest

from ri_analysis.errors import InputError
from ri_analysis.hyperparameters import Hyperparameter, complete, listed, suggest

DECLARED = (
    Hyperparameter("scale", "λ", 0.3, -2.0, 2.0),
    Hyperparameter("steps", "steps", 10, 1, 100),
    MERGE := Hyperparameter("merge", "how", "sum", choices=("sum", "mean"), titles=("added up", "averaged")),
    Hyperparameter("merges", "which", "sum,mean", each=MERGE),
    Hyperparameter("rates", "which rates", "0.5", each=Hyperparameter("rate", "a rate", 0.5, 1e-9, 1.0)),
)


def test_complete_fills_in_and_converts() -> None:
    found = complete(DECLARED, {"scale": "0.5", "steps": "7", "rates": " 1,0.1,1 "}, "m")
    assert found == {"scale": 0.5, "steps": 7, "merge": "sum", "merges": "sum,mean", "rates": "1,0.1"}
    assert listed(found["merges"]) == ["sum", "mean"]


def test_a_hyperparameter_says_itself_in_words() -> None:
    rate = Hyperparameter("lr", "rate of Adam", 1e-3, 1e-6, 1.0, label="learning rate")
    assert (rate.heading, rate.title) == ("Learning rate", "learning rate (lr)")
    assert rate.help == "Rate of Adam: a number from 1e−6 to 1, 0.001 by default."
    assert Hyperparameter("min_agree", "", 2, unit="masks").heading == "Min agree (masks)"
    assert Hyperparameter("batch", "", 2, label="images per step", unit="images").heading == "Images per step"
    assert DECLARED[2].titled == {"sum": "added up", "mean": "averaged"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scael": 1}, "m: unknown hyperparameter 'scael'; did you mean 'scale'"),
        ({"scale": 3}, "m: scale must be a number from −2 to 2, found 3"),
        ({"scale": "nan"}, "scale must be"),
        ({"scale": "wide"}, "found 'wide'"),
        ({"scale": None}, "found None"),
        ({"steps": 2.5}, "steps must be a whole number from 1 to 100, found 2.5"),
        ({"merge": "maen"}, "m: merge must be one of sum, mean, found 'maen'; did you mean 'mean'?"),
        ({"merges": "sum,,most"}, "m: merges must be one of sum, mean, found 'most'"),
        ({"merges": " , "}, "m: merges must be one or more, separated by commas, each one of sum, mean, found ' , '"),
        ({"rates": "0.1,2"}, "m: rates must be a number from 1e-9 to 1, found '2'".replace("-", "−")),
    ],
)
def test_complete_refuses(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        complete(DECLARED, given, "m")
    assert message in str(error.value)


def test_suggest_lists_what_is_known_without_a_near_match() -> None:
    assert suggest("zzz", ["ties", "dare"]) == "known: ties, dare"
