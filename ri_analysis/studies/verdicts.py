"""What may be said of a study's table, and what its intervals leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ri_analysis.engine.evaluation import Change
from ri_analysis.figures import words
from ri_analysis.intervals import Interval

NOTHING = "There is no RI-adapted expert set to compare with."
Claims = Mapping[str, bool | None]
"""Whether each claim holds; None where the images measured do not decide it."""


def mean_over(rows: pd.DataFrame, name: str) -> Change:
    """Return the mean over `rows`, as a rule the methods, of the change in column `name`, with an interval.

    All rows are based on the same images, so their errors are not independent. The interval is the mean of theirs: the
    deviation of a mean is at most the mean of the deviations, whatever the dependence, so it is rather too wide.
    """
    value, low, high = (float(rows[column].mean()) for column in (name, f"{name}_low", f"{name}_high"))
    return Change(value, Interval(low, high))


def in_points(change: Change) -> str:
    """Return a change of accuracy with its interval: "+3.7 points (+2.9 to +4.5)"."""
    return f"{words.points(change.value)} ({words.points_range(*change.interval)})"


def above(change: Change, bound: float = 0.0) -> bool | None:
    """Whether a change is above `bound`; None where its interval holds the bound."""
    low, high = change.interval
    return True if low > bound else False if high < bound else None


def below(change: Change, bound: float = 0.0) -> bool | None:
    """Whether a change is below `bound`; None where its interval holds the bound."""
    low, high = change.interval
    return True if high < bound else False if low > bound else None


def greater(first: Change, second: Change) -> bool | None:
    """Whether the first change is the greater one; None where their intervals overlap."""
    return above(first, second.interval.high) or (False if below(first, second.interval.low) else None)


def within(change: Change, margin: float) -> bool | None:
    """Whether a change is at most `margin` either way; None where its interval reaches over the margin."""
    low, high = change.interval
    if -margin <= low and high <= margin:
        return True
    return False if low > margin or high < -margin else None


def every(found: Sequence[bool | None]) -> bool | None:
    """Whether all hold: no where one does not, undecided where one is and the others hold."""
    return False if False in found else None if None in found else True


def beside_the_paper(claims: Claims) -> str:
    """Return which of the paper's findings hold here, which do not, and which these images do not decide."""
    openings = {
        True: "As in the paper: ",
        False: "Unlike in the paper, this does not hold here: ",
        None: "These images do not decide whether ",
    }
    sentences = []
    for answer, opening in openings.items():
        found = [claim for claim, holds in claims.items() if holds is answer]
        if found:
            sentences.append(f"{opening}{'; '.join(found)}.")
    return " ".join(sentences)
