"""What a merge's measurement says, in plain words: whether experts disturb each other, and what RI changed."""

from __future__ import annotations

from ri_analysis.engine.evaluation import Change, Evaluation, accuracy_change, interference_change, paired_change
from ri_analysis.figures import words
from ri_analysis.sides import Sides

INTERFERENCE = (
    "**Interference** ξ is how far the merged model's predictions have moved from each expert's on the expert's own "
    "task; at 0 it predicts exactly like every expert."
)
RI = (
    "**Resolving Interference (RI)** retrains each expert briefly before the merge, on unlabelled images unrelated to "
    "any task, so that it keeps its own task's predictions and no longer changes the other tasks'."
)


def in_a_sentence(sides: Sides[Evaluation]) -> str:
    """Answer whether the merged experts disturb each other; the intervals decide what is called clear."""
    before = sides.before
    return f"{_answer(before)} {_beside_zero_shot(before)}{_after(sides)}."


def in_plain_words(sides: Sides[Evaluation]) -> list[str]:
    """Return what interference is and whether these experts have it, and what RI is and did: a text each."""
    texts = [f"{INTERFERENCE} {_of_these_experts(sides.before)}"]
    return [*texts, f"{RI} {_what_ri_did(sides)}".rstrip()]


def accuracy_in_a_sentence(sides: Sides[Evaluation]) -> str:
    """Say how accurate the merged model is, beside what it was before RI, zero-shot and the experts."""
    last, change = sides.last, accuracy_of_sides(sides)
    beside = [] if change is None else [_difference(change, "before RI")]
    beside += [_difference(zero_shot_change(last), "zero-shot"), _difference(expert_change(last), _the_experts(last))]
    model = "The merged model's" if sides.after is None else "After RI the merged model's"
    return f"{model} accuracy is {words.percent(last.mean_accuracy[0])}: {_listed(beside)}."


def accuracy_of_sides(sides: Sides[Evaluation]) -> Change | None:
    """Return the paired change of the mean accuracy by RI; None without an RI set."""
    return None if sides.after is None else accuracy_change(sides.before, sides.after)


def zero_shot_change(evaluation: Evaluation) -> Change:
    """Return merged − zero-shot of the mean accuracy, paired image by image."""
    return paired_change(evaluation.zero_shot_correct, evaluation.correct, evaluation.seed)


def expert_change(evaluation: Evaluation) -> Change:
    """Return merged − expert of the mean accuracy, paired likewise."""
    return paired_change(evaluation.expert_correct, evaluation.correct, evaluation.seed)


def interferes(evaluation: Evaluation) -> bool:
    """Whether interference is clear: its interval's low end is above 0 in the three digits that are shown."""
    return round(evaluation.mean_interference[1].low, 3) > 0


# --- parts of sentences -----------------------------------------------------------------------------------


def _answer(before: Evaluation) -> str:
    """Return yes or no, with the accuracy beside the experts'."""
    merged, experts = words.percent(before.mean_accuracy[0]), words.percent(before.mean_expert_accuracy[0])
    loss = expert_change(before)
    if loss.clear and loss.value < 0:
        accuracy = f"merging brings accuracy down from the experts' {experts} to {merged},"
    else:
        beside = "above" if loss.clear else "not clearly different from"
        accuracy = f"the merged model's accuracy is {merged}, {beside} the experts' {experts} and"
    if len(before.correct) == 1:
        accuracy = accuracy.replace("experts'", "expert's")
        return f"Only one expert is merged, so no other can disturb it: {accuracy}"
    if not interferes(before):
        return f"Not clearly: {accuracy}"
    return f"{'Yes' if loss.clear and loss.value < 0 else 'Hardly'}: {accuracy}"


def _the_experts(evaluation: Evaluation) -> str:
    return "the expert" if len(evaluation.correct) == 1 else "the experts"


def _beside_zero_shot(evaluation: Evaluation) -> str:
    change, zero_shot = zero_shot_change(evaluation), words.percent(evaluation.mean_zero_shot_accuracy[0])
    if not change.clear:
        return f"not clearly different from zero-shot ({zero_shot})"
    return f"{'above' if change.value > 0 else 'below'} zero-shot ({zero_shot})"


def _after(sides: Sides[Evaluation]) -> str:
    change = accuracy_of_sides(sides)
    if change is None:
        return ""
    after = words.percent(sides.last.mean_accuracy[0])
    if not change.clear:
        return f"; after RI it is {after}, no clear change"
    return f"; RI {'raises' if change.value > 0 else 'lowers'} it to {after}"


def _of_these_experts(before: Evaluation) -> str:
    xi = words.nats(before.mean_interference[0])
    where = f"Here it is {xi}" if len(before.correct) == 1 else f"Here it is {xi} on average over the tasks"
    return f"{where}." if interferes(before) else f"{where}, not clearly above 0."


def _what_ri_did(sides: Sides[Evaluation]) -> str:
    accuracy = accuracy_of_sides(sides)
    if sides.after is None or accuracy is None:
        return ""
    interference = interference_change(sides.before, sides.after)
    to = words.nats(sides.after.mean_interference[0])
    done = [
        f"{'raises' if interference.value > 0 else 'lowers'} interference to {to}" if interference.clear else "",
        f"{'raises' if accuracy.value > 0 else 'lowers'} accuracy by {words.points(abs(accuracy.value))[1:]}"
        if accuracy.clear
        else "",
    ]
    if not any(done):
        return "Here neither interference nor accuracy changes clearly."
    if all(done):
        return f"Here it {' and '.join(done)}."
    missing = "accuracy" if done[0] else "interference"
    return f"Here it {''.join(done)}, without a clear change in {missing}."


def _difference(change: Change, what: str) -> str:
    if not change.clear:
        return f"no clear difference from {what}"
    size = words.points(abs(change.value))[1:]
    return f"{size} {'more' if change.value > 0 else 'less'} than {what}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
