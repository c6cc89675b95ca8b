from __future__ import annotations

from threading import Event

from streamlit.testing.v1 import AppTest

from ri_analysis.figures import words
from ri_analysis.progress import Pace
from ri_analysis.ui import background, resources
from ri_analysis.ui.jobs import Job, Jobs


def test_work_is_said_in_one_way(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ri_analysis.progress.time.monotonic", lambda: now[0])
    pace = Pace()
    assert words.how_far("Measuring", pace) == "Measuring …"
    pace(0, 2000)
    now[0] = 10.0
    pace(1200, 2000)
    assert words.how_far("Measuring", pace, unit="images") == "Measuring: 1,200 of 2,000 images, about 7 s left"
    assert words.how_far("Opening demo", pace, "head A") == "Opening demo: 1,200 of 2,000, about 7 s left · head A"


class Waiting(Job):
    running = True


def page(job, so_far):
    import streamlit as st

    from ri_analysis.ui import background

    background.watch(job, (lambda: st.caption(so_far)) if so_far else None)


def test_a_running_job_is_drawn_with_counts_and_a_way_to_cancel():
    job = Waiting("a", "Fitting")
    job.progress(3, 8)
    app = AppTest.from_function(page, args=(job, "a picture")).run()
    [bar] = app.get("progress")
    assert (bar.proto.value, bar.proto.text) == (37, "Fitting: 3 of 8 images …")
    said = ["Continues if you close this tab; finished parts are saved.", "a picture"]
    assert [caption.value for caption in app.caption] == said
    [button] = app.button
    assert (button.label, button.disabled) == ("Cancel", False)
    button.click().run()
    assert job.cancelled
    assert app.button[0].disabled
    assert app.get("progress")[0].proto.text == "Fitting: 3 of 8 images · stopping …"
    assert not app.exception


def asking():
    from ri_analysis.ui import background

    background.on_request(("race", 1), "Start", "Measuring", lambda *_: None)


def test_work_that_ends_while_the_page_looks_is_not_offered_again(monkeypatch):
    jobs, go_on, answers = Jobs(), Event(), {}
    key = ("race", 1)

    def work(job):
        assert go_on.wait(10)
        answers[key] = "answer"

    job = jobs.start(f"race:{hash(key)}", "Measuring", work)

    class Memory:
        """A memory in which the answer is a moment too late."""

        def get(self, asked):
            found = answers.get(asked)
            go_on.set()
            job.wait(10)
            return found

    monkeypatch.setattr(resources, "jobs", lambda: jobs)
    monkeypatch.setattr(resources, "memory", Memory)
    monkeypatch.setattr(background, "watch", lambda *_: None)
    app = AppTest.from_function(asking).run()
    assert not app.exception
    assert [button.label for button in app.button] == []
