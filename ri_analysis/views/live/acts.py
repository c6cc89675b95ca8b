"""What a reader can do besides moving a slider: each act changes the reader's choice, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ri_analysis.engine import Evaluator
from ri_analysis.ui import recipes, state
from ri_analysis.ui.controls import track

SLOTS = ("A", "B", "C")
_DEPTH = 200  # steps that can be undone


@dataclass
class History:
    """The recipes chosen so far in a session, and which of them stands: for undo and redo."""

    steps: list[state.Texts] = field(default_factory=list)
    place: int = -1

    def note(self) -> None:
        """Remember the recipe that is chosen now, where it is another than the one that stood."""
        texts = recipe_texts()
        if self.place >= 0 and self.steps[self.place] == texts:
            return
        self.steps = [*self.steps[: self.place + 1], texts][-_DEPTH:]
        self.place = len(self.steps) - 1

    def go(self, by: int) -> None:
        """Choose the recipe `by` steps later, as far as there are any."""
        self.place = min(max(0, self.place + by), len(self.steps) - 1)
        choose(self.steps[self.place])


def recipe_texts() -> state.Texts:
    """Return the entries of the choice that make the recipe."""
    return {name: text for name, text in state.choice().items() if recipes.in_recipe(name)}


def choose(texts: Mapping[str, str]) -> None:
    """Choose a recipe by its entries."""
    for name in recipe_texts():
        state.put(name, None)
    for name, text in texts.items():
        state.put(name, text)


def pinned(slot: str) -> state.Texts | None:
    """Return the entries of a pinned recipe, None where nothing is pinned."""
    text = state.choice().get(recipes.PIN + slot)
    return None if text is None else dict(parse_qsl(text))


def take_values(values: Mapping[str, Any]) -> None:
    """Put the sliders' values into the choice; a name that is no slider's, or a value that is no number, is ignored."""
    method = recipes.chosen_method()
    defaults: dict[str, float] = {
        recipes.entry(method.name, item): item.default  # type: ignore[misc]
        for item in method.hyperparameters
        if track(item, item.default) is not None
    }
    for name, value in values.items():
        if not isinstance(value, int | float):
            continue
        if name in defaults:
            number = int(value) if isinstance(defaults[name], int) else float(value)
            state.put(name, None if number == defaults[name] else state.text_of(number))
        elif name.startswith(recipes.COEFFICIENT):
            state.put(name, None if value == 1 else state.text_of(float(value)))


def act(what: str, history: History, evaluator: Evaluator) -> None:
    """Do an act by its name, "undo" or "mute:MNIST"; one that is not known does nothing."""
    name, _, about = what.partition(":")
    if name in ("undo", "redo"):
        history.go(-1 if name == "undo" else 1)
    elif name == "reset":
        prefixes = (recipes.COEFFICIENT, f"{recipes.chosen_method().name}.")
        for entry in recipe_texts():
            if entry.startswith(prefixes) or entry in (recipes.OFF, recipes.MUTED, recipes.SOLO):
                state.put(entry, None)
    elif name in (recipes.MUTED, recipes.SOLO, recipes.OFF):
        _toggle(name, about, recipes.possible_tasks(evaluator))
    elif about in SLOTS:
        _pin(name, about)


def _toggle(entry: str, task: str, tasks: Sequence[str]) -> None:
    listed = recipes.named(entry) ^ {task}
    state.put(entry, ",".join(name for name in tasks if name in listed) or None)


def _pin(name: str, slot: str) -> None:
    if name == "pin":
        state.put(recipes.PIN + slot, urlencode(recipe_texts()))
    elif name == "unpin":
        state.put(recipes.PIN + slot, None)
    elif name == "recall" and (texts := pinned(slot)) is not None:
        choose(texts)
