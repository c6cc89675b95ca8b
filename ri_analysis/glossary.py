"""The terms of the app, each with one meaning; `python -m ri_analysis.glossary docs/glossary.md` writes them down."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ri_analysis.markdown import write_section

SECTION = "glossary"


@dataclass(frozen=True)
class Term:
    """A term: its name, what it means in plain text, and other forms under which it stands in texts."""

    name: str
    meaning: str
    forms: tuple[str, ...] = ()

    @property
    def all_forms(self) -> tuple[str, ...]:
        """Every form, the name first."""
        return (self.name, *self.forms)


TERMS = (
    Term(
        "suite",
        "What a page has open: a pretrained model, the experts fine-tuned from it, their heads and test images, and "
        "the expert sets adapted by RI, if any.",
    ),
    Term("zero-shot", "The pretrained model used on a task as it is, without any fine-tuning.", ("pretrained model",)),
    Term("expert", "A copy of the pretrained model, fine-tuned on one task.", ("experts",)),
    Term(
        "expert set",
        "All experts together: the original ones, or a named set adapted by RI. “After RI” means the set chosen for "
        "the comparison, by default the suite's first choice.",
        ("expert sets",),
    ),
    Term(
        "task vector",
        "An expert's weights minus the pretrained model's: what fine-tuning has changed.",
        ("task vectors",),
    ),
    Term(
        "head",
        "The last layer for a task: it turns the features of an image into a prediction among the task's classes. "
        "Heads stay fixed; only the image encoder is merged.",
        ("heads",),
    ),
    Term(
        "merge",
        "One model made from several experts, usually the pretrained model plus a combination of their task vectors.",
        ("merged model", "merged models", "merging"),
    ),
    Term(
        "recipe",
        "How a merge is made: method, settings, expert set, tasks and coefficients. The same recipe gives the same "
        "numbers again.",
    ),
    Term(
        "λ",
        "The factor that multiplies the combined task vectors (scale on the command line). At 0 the merge is the "
        "pretrained model.",
    ),
    Term(
        "coefficient",
        "The factor that multiplies one expert's task vector in the merge, 1 unless you change it.",
        ("coefficients",),
    ),
    Term(
        "interference",
        "ξ: how far the merged model's predictions on a task's images have moved from those of the task's original "
        "expert. Measured as KL(expert ‖ merged) in nats; at 0 both predict the same.",
        ("interference ξ", "ξ"),
    ),
    Term(
        "drift",
        "Like interference, but by another distance or at another place: in one block, one feature, one image.",
    ),
    Term(
        "crosstalk",
        "How far one expert alone, without any merge, moves another task's predictions from the pretrained model's, in "
        "nats.",
    ),
    Term(
        "contribution",
        "How much of a task's interference one expert causes in this merge.",
        ("contributions",),
    ),
    Term(
        "RI",
        "Resolving Interference: each expert is retrained briefly before the merge, on unlabelled images unrelated to "
        "any task, so that it keeps its own task's predictions and no longer changes the other tasks'.",
        ("Resolving Interference",),
    ),
    Term(
        "auxiliary images",
        "The unlabelled images that RI retrains on. They need not be related to the tasks.",
    ),
    Term(
        "normalised accuracy",
        "Accuracy divided by that of the task's own expert: at 100% the merged model is as accurate as the expert.",
    ),
    Term(
        "interval",
        "A 95% interval: how far a number could be off because only a limited number of images was measured. A "
        "change is called clear when its interval excludes 0.",
        ("intervals",),
    ),
    Term(
        "no clear change",
        "The change's 95% interval includes 0, so the difference may be sampling noise.",
        ("no clear difference",),
    ),
    Term(
        "plateau",
        "The range of settings over which accuracy stays close to its best. The wider it is, the less the exact choice "
        "matters.",
        ("plateaus",),
    ),
    Term("validation", "Labelled images kept apart from the test images, used only to choose settings."),
    Term(
        "first look",
        "A measurement on a small, fixed sample of the images, shown until all of them are measured.",
    ),
    Term("points", "Percentage points: the difference of two accuracies. From 60% to 66% is +6 points."),
    Term(
        "nats",
        "The unit of a KL divergence taken with natural logarithms. 0 means the same predictions; 0.7, for "
        "example, means that the expert is certain and the merged model gives its answer a probability of one half.",
    ),
)
_BY_FORM = {form.lower(): term for term in TERMS for form in term.all_forms}
# Longer forms first: "expert set" is no expert. Code, formulas, links' targets and HTML tags are left alone.
_FORMS = "|".join(re.escape(form) for form in sorted(_BY_FORM, key=len, reverse=True))
_PLACES = re.compile(rf"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|<[^>]*>|(?<!\w)(?P<term>{_FORMS})(?!\w)", re.IGNORECASE)


def find_term(form: str) -> Term:
    """Return the term that stands in texts as `form`. Raises KeyError when there is none."""
    return _BY_FORM[form.lower()]


def marked(text: str, mark: Callable[[str, Term], str], known: Collection[str] = ()) -> tuple[str, set[str]]:
    """Return a text in which `mark(form, term)` stands for each term's first occurrence, and the names of those terms.

    The terms whose names are in `known` are left as they are.
    """
    found: set[str] = set()

    def put(place: re.Match[str]) -> str:
        form = place["term"]
        if form is None or (term := find_term(form)).name in found or term.name in known:
            return place[0]
        if term.name == "RI" and form == "ri":
            return form
        found.add(term.name)
        return mark(form, term)

    return _PLACES.sub(put, text), found


def in_words() -> str:
    """Return every term with its meaning, as a Markdown list in alphabetical order."""
    shown = sorted(TERMS, key=lambda term: (not term.name.isascii(), term.name.lower()))
    return "\n".join(f"- **{term.name}**: {term.meaning}" for term in shown)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write_section(Path(name), SECTION, in_words())
