from __future__ import annotations

import errno
import gc
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import started

from ri_analysis.api import opened, studying
from ri_analysis.cli import main
from ri_analysis.engine import Evaluator
from ri_analysis.engine.store import Store
from ri_analysis.errors import InputError, WriteError
from ri_analysis.files import atomic_path, check_target, write_text
from ri_analysis.suite import open_suite, resource_root
from ri_analysis.training import descent

pytestmark = pytest.mark.long

Run = Callable[..., tuple[int, str, str]]
WRITERS = {
    "merge": ["--out"],
    "report": ["--out"],
    "study": ["--no-images", "--set", "images=8", "--out"],
    "resolve": ["--auxiliary", "noise", "--name", "mine", "--steps", "1", "--out"],
}
FOLDERS = ("study", "resolve")  # what they write is a folder
READERS = {"measure": [], "interference": [], "check": []}


@pytest.fixture
def run(tiny: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(command: str, *flags: str, suite: Path = tiny, workspace: Path = workspace) -> tuple[int, str, str]:
        named = ["alone", str(suite)] if command == "study" else [str(suite)]
        try:
            code = main([command, *named, "--workspace", str(workspace), "--device", "cpu", *flags])
        except SystemExit as stop:
            code = int(stop.code or 0)
        output = capsys.readouterr()
        return code, output.out, besides_progress(output.err)

    return run


def besides_progress(err: str) -> str:
    """Leave out how far the work is, which is said where the machine is slow."""
    return re.sub(r"^ *\d+%  .*\n", "", err, flags=re.MULTILINE)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_message(found: tuple[int, str, str], *words: str) -> None:
    code, out, err = found
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


# --- where nothing can be written -------------------------------------------------------------------------


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where long work is begun."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    for owner, name in ((opened, "merge_to_file"), (opened, "resolve"), (Evaluator, "measure"), (studying, "plan")):
        monkeypatch.setattr(owner, name, begun)


@pytest.mark.parametrize("command", WRITERS)
def test_a_place_that_takes_no_file_is_said_before_the_work(
    command: str, run: Run, tmp_path: Path, no_work: None
) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "taken.d" / "manifest.json").mkdir(parents=True)
    (tmp_path / "taken.d" / "resolve.json").mkdir()
    out = WRITERS[command]
    folder = tmp_path / "taken.d"
    one_message(run(command, *out, str(folder)), str(folder), "expected a file to write, found a folder")
    below = tmp_path / "taken" / "deep" / "x"
    one_message(run(command, *out, str(below)), str(below), f"{tmp_path / 'taken'} is a file, not a folder")
    long = tmp_path / ("n" * 300)
    one_message(run(command, *out, str(long)), str(long), "file name too long")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_what_the_system_refuses_is_said_before_the_work(
    command: str, number: int, run: Run, tmp_path: Path, no_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **options: Any) -> None:
        raise OSError(number, os.strerror(number), os.path.join(options["dir"], "secret-temporary-name"))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    out = tmp_path / "new" / "out"
    found = run(command, *WRITERS[command], str(out))
    one_message(found, str(out), "can't be written", os.strerror(number).lower())
    assert "secret-temporary-name" not in found[2]
    assert not out.parent.exists()


@pytest.mark.parametrize("layout", ["open-clip", "hugging-face"])
def test_a_disk_full_of_what_a_whole_model_is_made_of_names_the_output(
    layout: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_for(monkeypatch, tmp_path / "disk")
    found = run("merge", "--layout", layout, "--out", str(tmp_path / "disk" / "out"))
    one_message(found, f"ri-analysis: {tmp_path / 'disk' / 'out'}: can't be written: no space left on device")
    assert contents(tmp_path / "disk") == {}


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="no /dev/null here")
def test_a_device_is_not_replaced_by_a_file(run: Run) -> None:
    one_message(run("merge", "--out", "/dev/null"), "/dev/null", "found a device")
    with pytest.raises(WriteError, match="found a device"):
        write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    "name",
    ["pretrained.safetensors", "original/Reds.safetensors", "resolved/mild/Blues.safetensors", "suite.toml",
     "head-Greens.safetensors", "model.json", "Reds.txt", "Reds-test.npz", "other.npz", "unseen.npz"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["merge", "report"])
def test_no_file_that_the_suite_reads_is_overwritten(
    command: str, name: str, run: Run, tiny: Path, tmp_path: Path, no_work: None
) -> None:
    before, file = contents(tiny.parent), tiny.parent / name
    (tmp_path / "link").symlink_to(file)
    os.link(file, tmp_path / "hard")
    (tmp_path / "folder").symlink_to(file.parent)
    for out in (file, tmp_path / "link", tmp_path / "hard", tmp_path / "folder" / file.name):
        one_message(run(command, "--out", str(out)), str(out), "found one that the suite reads")
    assert contents(tiny.parent) == before


@pytest.mark.parametrize("command", ["merge", "report"])
def test_what_else_a_suite_leads_to_is_not_overwritten_either(
    command: str, run: Run, tiny: Path, no_work: None
) -> None:
    (tiny.parent / "templates.txt").write_text("a photo of {}\n")
    tiny.write_text(tiny.read_text().replace('templates = ["a photo of {}", "{}"]', 'templates = "templates.txt"'))
    file = tiny.parent / "templates.txt"
    one_message(run(command, "--out", str(file)), str(file), "found one that the suite reads")


def test_a_study_overwrites_no_file_that_the_suite_reads(run: Run, tiny: Path, no_work: None) -> None:
    (tiny.parent / "table.csv").write_text("a photo of {}\n")
    tiny.write_text(tiny.read_text().replace('templates = ["a photo of {}", "{}"]', 'templates = "table.csv"'))
    found = run("study", "--no-images", "--set", "images=8", "--out", str(tiny.parent))
    one_message(found, str(tiny.parent / "table.csv"), "found one that the suite reads")
    assert (tiny.parent / "table.csv").read_text() == "a photo of {}\n"


# --- a disk that fills up ---------------------------------------------------------------------------------


def full_for(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have every write to a file in `folder` fail as on a full disk, after the file was made."""
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if folder in self.parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("command", WRITERS)
def test_a_disk_that_fills_up_leaves_nothing_half_written(
    command: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    full_for(monkeypatch, disk)
    one_message(run(command, *WRITERS[command], str(disk / "out")), str(disk / "out"), "no space left on device")
    assert contents(disk) == {}


def allow_small_files_only() -> None:
    import resource

    descent.SAVE_SECONDS = -1.0  # a state after every step
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of processes here")
@pytest.mark.parametrize("command", ["merge", "resolve"])
def test_a_real_limit_of_the_system_is_one_message(command: str, tiny: Path, workspace: Path, tmp_path: Path) -> None:
    Evaluator(open_suite(str(tiny), workspace), workspace, "cpu").store.close()
    out, flags = tmp_path / "disk" / "out", ["--workspace", str(workspace), "--device", "cpu"]
    arguments = [command, str(tiny), *flags, *WRITERS[command], str(out)]
    written = tmp_path / "written"
    done = started.command(arguments, out=written, err=tmp_path / "said", before=allow_small_files_only)
    assert (done.wait(300), written.read_text()) == (2, "")
    *_, last = lines = (tmp_path / "said").read_text().splitlines()
    assert not any("Traceback" in line for line in lines)
    assert "file too large" in last
    assert str(out) in last
    assert [name for name in contents(tmp_path / "disk") if not name.endswith(".json")] == []


# --- temporary files --------------------------------------------------------------------------------------


def test_an_error_about_another_file_keeps_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), atomic_path(tmp_path / "out"):
        (tmp_path / "elsewhere" / "absent").read_bytes()
    assert contents(tmp_path) == {}


def test_a_long_name_has_a_temporary_file_too(tmp_path: Path) -> None:
    path = tmp_path / ("数" * 80 + ".json")  # 245 bytes of the 255 that a name may have
    write_text(path, "{}")
    assert contents(tmp_path) == {path.name: b"{}"}


def abandoned(path: Path, seconds: float) -> Path:
    """Leave what a run that was killed while it wrote `path` leaves, so many seconds ago."""
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    temporary.write_text("half")
    os.utime(temporary, (time.time() - seconds,) * 2)
    return temporary


@pytest.mark.parametrize("look", [lambda path: write_text(path, "{}"), check_target])
def test_what_killed_runs_left_is_removed_when_the_folder_is_next_used(
    look: Callable[[Path], None], tmp_path: Path
) -> None:
    out, other = tmp_path / "out.json", tmp_path / "merged.safetensors"
    left = [abandoned(out, 90), abandoned(other, 90), abandoned(tmp_path / ("数" * 80), 7200)]
    young = abandoned(out, 5)  # another run may have made it just now
    mine = [tmp_path / name for name in (".notes.part", ".out-12345678.part.json", "a-01234567-abcdefgh.part")]
    for path in mine:
        path.write_text("a user's")
        os.utime(path, (0, 0))
    look(out)
    assert not any(path.exists() for path in left)
    assert young.exists()
    assert all(path.exists() for path in mine)


def test_what_another_run_is_writing_is_left_to_it(tmp_path: Path) -> None:
    out, other = tmp_path / "out.json", tmp_path / "other.json"
    with atomic_path(out) as temporary:
        temporary.write_text("{}")
        os.utime(temporary, (0, 0))  # it has been thinking for long
        write_text(other, "{}")
        assert temporary.exists()
    assert contents(tmp_path) == {"out.json": b"{}", "other.json": b"{}"}


KILLED = """
import os, signal, sys
from pathlib import Path
from ri_analysis.files import atomic_path

with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.utime(temporary, (0, 0))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL here")
def test_a_run_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "out")]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(resource_root())})
    assert len(list(tmp_path.iterdir())) == 1
    write_text(tmp_path / "other", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_target_is_checked_without_a_trace(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "deep" / "out")
    check_target(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_leaves_nothing_half_written(
    number: int, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object, **__: object) -> None:
        with atomic_path(tmp_path / "out") as temporary:
            temporary.write_text("half")
            try:
                os.kill(os.getpid(), number)
                time.sleep(10)
            except KeyboardInterrupt as error:  # as libraries do when they are met in the middle of something
                raise InputError("damaged") from error

    monkeypatch.setattr("ri_analysis.engine.Evaluator.measure", ended)
    before = contents(tmp_path).keys()
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    outside = signal.signal(number, usual)  # `nohup` and a shell's background ignore some, and commands go on then
    try:
        assert run("measure") == (128 + number, "", "ri-analysis: stopped\n")
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, outside)
    assert [name for name in contents(tmp_path).keys() - before if "store.sqlite" not in name] == []


# --- the workspace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*READERS, *WRITERS])
def test_a_workspace_that_is_a_file_is_one_message(command: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    flags = [*WRITERS[command], str(tmp_path / "out")] if command in WRITERS else READERS[command]
    found = run(command, *flags, workspace=tmp_path / "file")
    one_message(found, str(tmp_path / "file"), "is a file, not a folder")
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["measure", "interference", "merge", "report", "study", "check"])
def test_a_damaged_store_is_set_aside(command: str, run: Run, workspace: Path, tmp_path: Path) -> None:
    workspace.mkdir()
    (workspace / "store.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    flags = [*WRITERS[command], str(tmp_path / "out")] if command in WRITERS else READERS[command]
    code, _, err = run(command, *flags)
    assert code == 0
    assert err.count(f"note  {workspace / 'store.sqlite'}: can't be read (file is not a database); set aside as ") == 1


def test_a_store_damaged_in_the_middle_is_set_aside(run: Run, workspace: Path) -> None:
    expected = run("measure")
    assert expected[0] == 0
    path = workspace / "store.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)  # the first page, with the schema, stays
    path.write_bytes(data)
    code, out, err = run("measure")
    assert (code, out) == expected[:2]
    assert err.count(f"note  {path}: can't be read (database disk image is malformed); set aside as ") == 1


READ_ONLY = sqlite3.OperationalError("attempt to write a readonly database")


class ReadOnly(sqlite3.Connection):
    """A connection to a store that can be read only, for root too."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if not sql.startswith("SELECT"):
            raise READ_ONLY
        return super().execute(sql, *values)


class Full(sqlite3.Connection):
    """A connection to a store on a disk that is full."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *values)


def connect_by(monkeypatch: pytest.MonkeyPatch, kind: type[sqlite3.Connection]) -> None:
    monkeypatch.setattr(sqlite3, "connect", lambda *args, real=sqlite3.connect, **kw: real(*args, **kw, factory=kind))


def test_a_read_only_workspace_answers_what_it_holds(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    READ_ONLY.sqlite_errorcode = sqlite3.SQLITE_READONLY
    _, expected, _ = run("measure", "--json")
    gc.collect()  # the first run's connection may still be open, and writes when it is closed
    connect_by(monkeypatch, ReadOnly)
    before = (workspace / "store.sqlite").read_bytes()
    code, out, err = run("measure", "--json")
    assert (code, out) == (0, expected)
    assert besides_experts(err).splitlines() == [
        f"note  {workspace / 'store.sqlite'}: new results are not saved: attempt to write a readonly database"
    ]
    code, out, err = run("measure", "--set", "scale=0.7")  # not there yet
    assert code == 0
    assert "mean accuracy" in out
    assert err.count("are not saved") == 1
    assert (workspace / "store.sqlite").read_bytes() == before


@pytest.mark.parametrize("command", ["measure", "interference", "study"])
def test_answers_that_cant_be_kept_are_answers_still(
    command: str, run: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*WRITERS[command], str(tmp_path / "out")] if command in WRITERS else READERS[command]
    _, expected, _ = run(command, *flags, workspace=tmp_path / "other")
    connect_by(monkeypatch, Full)
    code, out, err = run(command, *flags)
    assert (code, out) == (0, expected)
    assert err.count("new results are not saved: database or disk is full") == 1


def test_a_store_without_room_holds_answers_in_memory(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_by(monkeypatch, Full)
    store = Store(workspace)
    assert store.get("key") is None
    store.put("key", {"values": np.arange(3)})
    found = store.get("key")
    assert store.has("key")
    assert found is not None
    assert found["values"].tolist() == [0, 1, 2]
    store.close()
    assert Store(workspace).get("key") is None


def test_images_and_heads_are_read_without_a_place_for_caches(
    run: Run, tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    for label in range(3):
        path = tiny.parent / "reds" / f"{label}" / "image.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (90 * label, 0, 0)).save(path)
    text = tiny.read_text().replace("Reds-test.npz", "reds").replace('head = "head-Blues.safetensors"\n', "")
    tiny.write_text(text)
    full_for(monkeypatch, workspace)
    code, out, _ = run("measure", "--json")
    assert code == 0
    found = [path.name for path in workspace.rglob("*") if path.suffix in (".json", ".safetensors", ".pixels")]
    assert found == []
    monkeypatch.undo()
    assert run("measure", "--json", workspace=workspace.parent / "roomy")[1] == out


def test_a_workspace_that_is_removed_while_it_is_open_is_begun_anew_and_that_is_said(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, other = Store(workspace), Store(workspace)
    store.put("old", {"values": np.arange(3)})
    shutil.rmtree(workspace)
    assert store.get("old") is None
    store.put("new", {"values": np.arange(2)})
    assert other.has("new")
    assert Store(workspace).has("new")
    (said,) = set(capsys.readouterr().err.splitlines())
    assert said.startswith(
        f"note  {workspace / 'store.sqlite'}: was removed or replaced while it was open; results are"
    )
    assert store.troubles == [said.removeprefix("note  ")]


def test_a_workspace_that_is_removed_for_good_is_one_message(run: Run, workspace: Path) -> None:
    store = Store(workspace)
    shutil.rmtree(workspace)
    workspace.write_text("mine")
    with pytest.raises(InputError, match=r"it was removed, and .* is a file, not a folder"):
        store.get("key")
    store.put("key", {"values": np.arange(2)})
    workspace.unlink()
    store.put("new", {"values": np.arange(2)})
    assert Store(workspace).has("new")


def test_a_workspace_that_can_neither_be_read_nor_made_is_one_message(workspace: Path) -> None:
    workspace.parent.joinpath("file").write_text("")
    with pytest.raises(InputError, match=r"expected a workspace that can be written.*--workspace"):
        Store(workspace.parent / "file" / "below")


# --- the output -------------------------------------------------------------------------------------------


def besides_experts(err: str) -> str:
    """Leave out what is remarked about the tiny suite's experts: they are random."""
    return "".join(line for line in err.splitlines(keepends=True) if "of its own task" not in line)


@pytest.mark.skipif(sys.platform == "win32", reason="no such shell here")
@pytest.mark.parametrize("command", ["methods", "methods --json", "measure $1 --workspace $2"])
def test_a_reader_that_goes_away_ends_it_quietly(command: str, tiny: Path, workspace: Path) -> None:
    line = f"{sys.executable} -m ri_analysis.cli {command} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line, "shell", str(tiny), str(workspace)],
        env=os.environ | {"PYTHONPATH": str(resource_root())},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, besides_progress(besides_experts(done.stderr))) == (141, "")


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no such device here")


@needs_full
def test_where_no_message_can_be_written_the_exit_code_says_it() -> None:
    assert started.command(["measure", "no-such-suite"], err=FULL).wait(300) == 2


@needs_full
@pytest.mark.parametrize("measured", [False, True])
def test_a_full_disk_under_the_output_is_one_message(
    measured: bool, tiny: Path, workspace: Path, tmp_path: Path
) -> None:
    words = ["measure", str(tiny), "--workspace", str(workspace)] if measured else ["methods"]
    code = started.command(words, out=FULL, err=tmp_path / "said").wait(300)
    said = besides_progress(besides_experts((tmp_path / "said").read_text()))
    assert (code, said) == (2, "ri-analysis: the output can't be written: no space left on device\n")


def raising(error: Exception) -> Callable[..., None]:
    def work(*_: object, **__: object) -> None:
        raise error

    return work


def test_any_other_error_of_the_system_names_its_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO), "/data/x.npz")
    monkeypatch.setattr("ri_analysis.engine.Evaluator.measure", raising(error))
    one_message(run("measure"), "/data/x.npz: input/output error")


@pytest.mark.parametrize("error", [KeyError("x"), OSError("no number"), ValueError("x")])
def test_errors_of_the_program_keep_their_traceback(
    error: Exception, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ri_analysis.engine.Evaluator.measure", raising(error))
    with pytest.raises(type(error)):
        run("measure")


def test_a_very_long_message_is_cut_in_the_middle(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = InputError("begin " + "\n".join(["x" * 500] * 90) + " end")
    monkeypatch.setattr("ri_analysis.engine.Evaluator.measure", raising(error))
    code, _, err = run("measure")
    assert code == 2
    assert len(err) < 2100
    assert err.startswith("ri-analysis: begin x")
    assert "(43,099 characters)" in err
    assert err.endswith("x end\n")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("measure", ["--seed", "-1"]),
        ("measure", ["--seed", "1.5"]),
        ("measure", ["--seed", str(2**32)]),
        ("measure", ["--device", "cuda:77"]),
        ("measure", ["--device", "meta"]),
        ("measure", ["--device", "toaster"]),
        ("resolve", ["--auxiliary", "noise", "--name", "x", "--steps", "-3"]),
        ("resolve", ["--auxiliary", "noise", "--name", "x", "--steps", "0"]),
        ("study", ["--jobs", "0"]),
        ("study", ["--jobs", "-2"]),
        ("study", []),
        ("measure", ["--no-such-flag"]),
        ("measure", ["--coefficient=--"]),
        ("merge", ["--out=~nobody-of-that-name/m.safetensors"]),
    ],
)
def test_an_absurd_flag_is_one_message(command: str, flags: list[str], run: Run, no_work: None) -> None:
    one_message(run(command, *flags), *flags[-2:-1])
