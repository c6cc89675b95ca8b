"""One session's live page: what was measured last, what is being measured, and what the probe says meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import streamlit as st

from ri_analysis.engine import Evaluator
from ri_analysis.engine.comparison import Comparison
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.live import sliding
from ri_analysis.live.estimate import Estimate
from ri_analysis.live.probe import LIVE, LiveProbe, is_small
from ri_analysis.progress import Pace
from ri_analysis.ui import measuring, resources
from ri_analysis.ui.jobs import Job
from ri_analysis.ui.recipes import Pair
from ri_analysis.views.live import exact
from ri_analysis.views.live.acts import History, recipe_texts
from ri_analysis.views.live.line import Have, Line, Plane, SliderPath

_SESSION = "merge.session"
_PATIENCE = 0.15  # seconds a poll waits for the exact values
POINT, MOST = 10.0, 128  # seconds that a surrogate's point may take, and images a task that it is measured on at most


@dataclass(frozen=True)
class View:
    """What is known of a pair of recipes now: exact values, or estimates of them, or neither yet.

    `pace` is how far measuring all images is, None where nothing is under way; `surrogate` says what the estimates are
    where they are no look at the merged model; `problem` is what stopped measuring; `preparing` says that estimates
    have to wait for the probe; `more` that asking again in a moment brings more; `rough` that nothing is smooth along
    the slider's path.
    """

    pair: Pair
    exact: Comparison | None = None
    estimates: list[Estimate] | None = None
    pace: Pace | None = None
    surrogate: str | None = None
    problem: str | None = None
    preparing: bool = False
    more: bool = False
    rough: bool = False


@dataclass
class LiveSession:
    """The state of one session's page. `seq` is the latest message that was carried out."""

    seq: int = 0
    pair: Pair | None = None
    measured: Comparison | None = None  # the last pair measured on all images: it corrects the probe
    history: History = field(default_factory=History)
    near: str = ""  # the slider that the hand is at
    linked: tuple[str, ...] = ()  # the coefficients that would move with it
    _name: str = field(default_factory=lambda: uuid4().hex)
    _measured_pair: Pair | None = None
    _taken: int = 0  # how often something was measured
    _job: Job | None = None
    _job_pair: Pair | None = None
    _line: Line | None = None
    _looked: tuple[Pair, list[Estimate]] | None = None

    def view(self, evaluator: Evaluator, probe: LiveProbe | None, pair: Pair, *, moving: bool, held: str) -> View:
        """Return what is known of a pair, at once where a slider is `moving`; else measuring begins.

        `probe` is None until it is ready; `held` is the entry of the slider that was moved last, "" when it was none.
        """
        self.pair = pair
        moved = not held.endswith(".scale")
        live = probe is None or probe.expected_seconds(pair.before, moved) <= LIVE
        if self.exact_for(pair) is None and not moving:
            self._from_memory(evaluator, pair)
        if (found := self.exact_for(pair)) is not None:
            self._give_up()
            if self.near and probe is not None:
                self._follow(evaluator, probe, pair, self.near, live)
            elif self._line is not None and not live:
                self._refine(self._line)
            return View(pair, exact=found)
        problem = None
        if moving:
            self._give_up()
        else:
            self._stop_line()
            problem = self._await(evaluator, pair)
            if (found := self.exact_for(pair)) is not None:
                return View(pair, exact=found)
        pace = None if self._job is None or problem is not None else self._job.pace
        if probe is None:
            return View(pair, pace=pace, problem=problem, preparing=True, more=True)
        if moving:
            self._follow(evaluator, probe, pair, held, live)
        if live:
            rough = moving and self._line is not None and self._line.rough
            looked = self._estimates(probe, pair)
            return View(pair, None, looked, pace, problem=problem, more=pace is not None, rough=rough)
        estimates, says = self._along(evaluator, pair) or (None, None)
        running = self._line is not None and self._line.running
        return View(pair, None, estimates, pace, says, problem, more=running or pace is not None)

    def exact_for(self, pair: Pair) -> Comparison | None:
        """Return the exact values of a pair, where they are what was measured last."""
        known = self.measured is not None and self.measured.before.full and self._measured_pair == pair
        return self.measured if known else None

    def take(self, pair: Pair, comparison: Comparison) -> None:
        """Note that a pair was measured."""
        self.measured, self._measured_pair, self._taken = comparison, pair, self._taken + 1

    # --- measuring ----------------------------------------------------------------------------------------

    def _from_memory(self, evaluator: Evaluator, pair: Pair) -> None:
        keys = [measuring.memory_key("measure", evaluator, recipe) for recipe in pair.all]
        held = [evaluation for key in keys if (evaluation := resources.memory().get(key)) is not None]
        if len(held) == len(keys):
            self.take(pair, Comparison.of(held))

    def _await(self, evaluator: Evaluator, pair: Pair) -> str | None:
        """Have a pair measured and wait a moment for it; return what went wrong, where something did."""
        if self._job_pair != pair or self._job is None or isinstance(self._job.error, Cancelled):
            self._give_up()
            self._job = exact.start(f"{self._name}:{uuid4().hex}", evaluator, pair, is_small(evaluator))
            self._job_pair = pair
        self._job.wait(_PATIENCE)
        seen = self._job.look()
        if seen.result is not None:
            self.take(pair, seen.result)
            self._job = None
            return None
        error = seen.error
        if error is not None and not isinstance(error, InputError | Cancelled):
            raise error
        return None if error is None else str(error)

    def _give_up(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = self._job_pair = None

    # --- estimates ----------------------------------------------------------------------------------------

    def _estimates(self, probe: LiveProbe, pair: Pair) -> list[Estimate] | None:
        """Return what the probe says of a pair, looked at once."""
        if self.measured is None:
            return None
        if self._looked is None or self._looked[0] != pair:
            last = self.measured
            references = (last.before, last.last)
            self._looked = pair, probe.estimates(pair.all, references[: len(pair.all)])
        return self._looked[1]

    def path(self, evaluator: Evaluator, pair: Pair, have: Have, base: Mapping[str, float]) -> dict[str, Any]:
        """Return what the page needs to slide by itself: `on`, the path on which a pair lies, and `path`, what is new.

        `base` are the sliders' values; `refining` says that more follows.
        """
        line = self._line
        if line is None or self.measured is None or line.position_of(evaluator, pair) is None:
            return {"on": "", "refining": False}
        refining = line.running and line.direction.held == self.near  # asked first: what follows is then complete
        return {"on": line.id, "refining": refining, "path": line.sent(have, self.measured, self._taken, base)}

    def _follow(self, evaluator: Evaluator, probe: LiveProbe, pair: Pair, held: str, live: bool) -> None:
        """Have points measured in the background along the path on which a slider moves, or is about to."""
        base = self.history.steps[self.history.place] if self.history.steps else {}
        linked = self.linked if held == self.near else ()
        direction = Plane.of(base, held) or SliderPath.of(base, held, recipe_texts(), linked)
        if direction is not None and (self._line is None or self._line.direction != direction):
            self._stop_line()
            classes = [len(evaluator.heads[task].classes) for task in pair.before.tasks]
            points = len(direction.grid(live=live).levels[-1])
            fitting = sliding.images_within(sliding.BUDGET, classes, points, len(pair.all))
            size = min(fitting, probe.affordable(POINT, MOST))
            self._line = Line(direction, size, len(pair.all), probe if live and probe.size <= fitting else None)
        if self._line is not None and not (live and self._line.direction.whole):
            self._refine(self._line)

    def _refine(self, line: Line) -> None:
        """Go on measuring along a line."""
        line.start(f"{self._name}:line:{uuid4().hex}")

    def _along(self, evaluator: Evaluator, pair: Pair) -> tuple[list[Estimate], str] | None:
        """Return what the surrogates say of a pair, where it lies on their line."""
        if self._line is None or self.measured is None:
            return None
        position = self._line.position_of(evaluator, pair)
        return None if position is None else self._line.estimates(position, self.measured)

    def _stop_line(self) -> None:
        if self._line is not None:
            self._line.stop()


def live_session() -> LiveSession:
    """Return this session's live values of the open suite."""
    suite = resources.stamp(resources.suite_name())
    held: dict[tuple[str, str], LiveSession] = st.session_state.setdefault(_SESSION, {})
    if suite not in held:
        held.clear()
        held[suite] = LiveSession()
    return held[suite]
