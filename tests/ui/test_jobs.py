from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from ri_analysis.errors import Cancelled, InputError
from ri_analysis.ui.jobs import Job, Jobs, Seen


def wait(job):
    try:
        job._future.result(timeout=120)
    except BaseException:
        return job
    return job


def test_a_job_reports_and_returns():
    jobs = Jobs()

    def work(job):
        for step in range(1, 5):
            job.progress(step, 4)
            job.note = f"step {step}"
        return "done"

    job = wait(jobs.start("a", "Work", work))
    assert job.look() == Seen(running=False, result="done")
    assert (job.pace.share, job.note, job.error, job.running) == (1.0, "step 4", None, False)
    assert jobs.get("a") is job
    jobs.drop("a")
    assert jobs.get("a") is None


def test_a_running_job_is_not_started_twice_and_stops_when_cancelled():
    jobs, reached, go_on = Jobs(), threading.Event(), threading.Event()

    def work(job):
        job.progress(1, 2)
        reached.set()
        assert go_on.wait(10)
        job.progress(3, 5)
        raise AssertionError("went on after cancel")

    job = jobs.start("a", "Work", work)
    assert reached.wait(10)
    assert jobs.start("a", "Other work", lambda _: None) is job
    jobs.drop("a")
    assert jobs.get("a") is job  # a running job is not forgotten
    job.cancel()
    go_on.set()
    wait(job)
    assert isinstance(job.error, Cancelled)
    assert job.cancelled
    assert job.pace.share == 0.5
    assert job.look().result is None


class Ending(Future):
    """A future that ends right after it was asked for the first time whether it has."""

    def done(self) -> bool:
        ended = super().done()
        if not ended:
            self.set_result("report")
        return ended


def test_one_look_at_a_job_that_is_ending_never_shows_it_ended_without_a_result():
    job = Job("a", "Work", _future=Ending())
    assert job.look() == Seen(running=True)
    assert job.look() == Seen(running=False, result="report")


def test_a_job_is_found_only_once_it_can_be_looked_at():
    jobs, found = Jobs(), []

    class Executor:
        def submit(self, work, job):
            found.append(jobs.get("a"))
            future = Future()
            future.set_result("report")
            return future

    jobs._executor = Executor()
    assert jobs.start("a", "Work", lambda job: None).look().result == "report"
    assert found == [None]


def test_a_job_cancelled_before_its_turn_never_starts():
    jobs, go_on = Jobs(), threading.Event()
    first = jobs.start("a", "First", lambda job: go_on.wait(10))
    second = jobs.start("b", "Second", lambda job: pytest.fail("started"))
    second.cancel()
    go_on.set()
    wait(first)
    assert isinstance(second.error, Cancelled)


def test_an_error_is_kept_for_the_page():
    def work(job):
        raise InputError("no such source")

    job = wait(Jobs().start("a", "Work", work))
    assert isinstance(job.error, InputError)


def test_finished_jobs_are_bounded():
    jobs = Jobs()
    for number in range(50):
        wait(jobs.start(f"x:{number}", "Work", lambda job: None))
    assert len(jobs.starting_with("x:")) <= 33
    assert jobs.get("x:49") is not None


def test_short_work_does_not_wait_for_long_work_and_long_work_does():
    jobs, go_on, order = Jobs(), threading.Event(), []

    def work(job):
        assert job.key != "study" or go_on.wait(10)
        order.append(job.key)

    started = [jobs.start(key, "Work", work, long=key in ("study", "ri")) for key in ("study", "ri", "figure")]
    wait(started[2])
    assert (order, started[0].running, started[1].running) == (["figure"], True, True)
    go_on.set()
    wait(started[1])
    assert order == ["figure", "study", "ri"]


def test_full_memory_is_one_message():
    def work(job):
        raise MemoryError

    error = wait(Jobs().start("a", "Work", work)).error
    assert isinstance(error, InputError)
    assert "--memory" in str(error)
