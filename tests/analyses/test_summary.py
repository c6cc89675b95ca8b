"""The sentences of the Overview and of Accuracy, case by case: 100 images a task, as many right as is said."""

from __future__ import annotations

import numpy as np
import pytest

from ri_analysis.analyses import summary
from ri_analysis.engine import Evaluation
from ri_analysis.sides import Sides

N = 100


def right(share: float) -> np.ndarray:
    """The first so many of the images are right."""
    return np.arange(N) < round(share * N)


def swapped(share: float, swaps: int) -> np.ndarray:
    """As many right as by `right`, but others: a paired difference that is no clear one."""
    flags = right(share)
    place = round(share * N)
    flags[place - swaps : place], flags[place : place + swaps] = False, True
    return flags


def measured(
    merged: np.ndarray, *, expert: float = 0.9, zero_shot: float = 0.5, nats: float = 0.4, tasks: int = 2
) -> Evaluation:
    names = [f"task {number}" for number in range(tasks)]
    return Evaluation(
        suite="made up",
        recipe={},
        correct=dict.fromkeys(names, merged),
        expert_correct=dict.fromkeys(names, right(expert)),
        zero_shot_correct=dict.fromkeys(names, right(zero_shot)),
        divergence=dict.fromkeys(names, np.full(N, nats, np.float32)),
    )


YES = "Yes: merging brings accuracy down from the experts' 90.0% to"


@pytest.mark.parametrize(
    ("before", "says"),
    [
        (measured(right(0.7)), f"{YES} 70.0%, above zero-shot (50.0%)."),
        (measured(right(0.3)), f"{YES} 30.0%, below zero-shot (50.0%)."),
        (measured(swapped(0.5, 20)), f"{YES} 50.0%, not clearly different from zero-shot (50.0%)."),
        (
            measured(swapped(0.9, 5)),
            "Hardly: the merged model's accuracy is 90.0%, not clearly different from the experts' 90.0% and above "
            "zero-shot (50.0%).",
        ),
        (
            measured(right(0.95)),
            "Hardly: the merged model's accuracy is 95.0%, above the experts' 90.0% and above zero-shot (50.0%).",
        ),
        (
            measured(right(0.9), nats=0.0004),
            "Not clearly: the merged model's accuracy is 90.0%, not clearly different from the experts' 90.0% and "
            "above zero-shot (50.0%).",
        ),
        (
            measured(right(0.7), tasks=1),
            "Only one expert is merged, so no other can disturb it: merging brings accuracy down from the expert's "
            "90.0% to 70.0%, above zero-shot (50.0%).",
        ),
    ],
)
def test_without_an_ri_set_the_answer_is_about_the_merge(before: Evaluation, says: str):
    assert summary.in_a_sentence(Sides(before)) == says


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (measured(right(0.8)), "; RI raises it to 80.0%."),
        (measured(right(0.6)), "; RI lowers it to 60.0%."),
        (measured(swapped(0.7, 20)), "; after RI it is 70.0%, no clear change."),
        (measured(right(0.7)), "; after RI it is 70.0%, no clear change."),
    ],
)
def test_the_answer_says_what_ri_did(after: Evaluation, says: str):
    assert summary.in_a_sentence(Sides(measured(right(0.7)), after)) == f"{YES} 70.0%, above zero-shot (50.0%){says}"


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (
            measured(right(0.8), nats=0.1),
            "Here it lowers interference to 0.100 nats and raises accuracy by 10.0 points.",
        ),
        (
            measured(right(0.6), nats=0.5),
            "Here it raises interference to 0.500 nats and lowers accuracy by 10.0 points.",
        ),
        (
            measured(right(0.7), nats=0.1),
            "Here it lowers interference to 0.100 nats, without a clear change in accuracy.",
        ),
        (measured(right(0.8)), "Here it raises accuracy by 10.0 points, without a clear change in interference."),
        (measured(right(0.7)), "Here neither interference nor accuracy changes clearly."),
    ],
)
def test_plain_words_say_what_ri_is_and_what_it_did(after: Evaluation, says: str):
    interference, ri = summary.in_plain_words(Sides(measured(right(0.7)), after))
    assert interference == f"{summary.INTERFERENCE} Here it is 0.400 nats on average over the tasks."
    assert ri == f"{summary.RI} {says}"


def test_plain_words_without_interference_with_one_expert_and_without_an_ri_set():
    interference, ri = summary.in_plain_words(Sides(measured(right(0.9), nats=0.0)))
    assert interference.endswith("Here it is 0.000 nats on average over the tasks, not clearly above 0.")
    assert ri == summary.RI
    assert summary.in_plain_words(Sides(measured(right(0.9), tasks=1)))[0].endswith("Here it is 0.400 nats.")


def test_accuracy_is_set_beside_what_it_was_zero_shot_and_the_experts():
    before = measured(right(0.7))
    assert summary.accuracy_in_a_sentence(Sides(before)) == (
        "The merged model's accuracy is 70.0%: 20.0 points more than zero-shot and 20.0 points less than the experts."
    )
    assert summary.accuracy_in_a_sentence(Sides(before, measured(swapped(0.5, 20)))) == (
        "After RI the merged model's accuracy is 50.0%: 20.0 points less than before RI, no clear difference from "
        "zero-shot and 40.0 points less than the experts."
    )
