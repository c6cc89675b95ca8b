from __future__ import annotations

import os
from pathlib import Path

import pytest

from ri_analysis.allowed import (
    Outside,
    allow_file,
    allow_only,
    is_allowed,
    require_allowed,
    require_file,
    shortened,
    told,
)
from ri_analysis.documents import place
from ri_analysis.errors import InputError
from ri_analysis.files import file_digest
from ri_analysis.stamps import reading


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A folder that may be read, beside a secret that may not."""
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "inside-not").mkdir()
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    allow_only([folder])
    return folder


def test_without_a_restriction_every_file_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert is_allowed(Path("/etc/passwd"))
    require_file(tmp_path / "file")
    assert shortened(f"{tmp_path}/file") == f"{tmp_path}/file"


def test_links_and_dots_count_by_what_they_lead_to(inside: Path, tmp_path: Path) -> None:
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    (inside / "chain").symlink_to(inside / "link")
    (tmp_path / "way-in").symlink_to(inside)
    for name in ("link", "chain", "folder/secret", "../secret", "../inside-not", "folder/nothing", "../nothing", ".."):
        with pytest.raises(
            Outside, match="points outside the folders that the app may read; start the app with --allow"
        ):
            require_allowed(inside / name)
    for path in (inside, inside / "mine", inside / "nothing", inside / "folder/inside/mine", tmp_path / "way-in/mine"):
        require_allowed(path)


def test_a_way_back_out_of_somewhere_else_tells_nothing(inside: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "below")
    for name in ("there", "nothing", "link", "secret", "there/../nothing"):
        for path in (tmp_path / name / ".." / "inside" / "mine", inside / ".." / name / ".." / "inside" / "mine"):
            with pytest.raises(Outside):
                require_allowed(path)
    for path in (inside / ".." / "inside" / "mine", inside / "nothing" / ".." / "mine", inside / ".." / ".." / "x"):
        assert is_allowed(path) is (path.name == "mine")


def test_where_anybody_has_a_home_is_told_to_no_visitor(inside: Path) -> None:
    allow_only([inside], hidden=True)
    assert place(Path(), "~root/x") == Path("~root/x")
    assert place(Path(), "~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    allow_only([inside])
    assert place(Path(), "~/x") == Path.home() / "x"


def test_nothing_is_read_without_being_looked_at(inside: Path, tmp_path: Path) -> None:
    (inside / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Outside):
        reading(inside / "link")
    with pytest.raises(Outside):
        file_digest(inside / "link")
    assert reading(inside / "mine").size == 4


def test_a_file_that_the_program_fetched_may_be_read(inside: Path, tmp_path: Path) -> None:
    allow_file(tmp_path / "secret")
    allow_only([inside])  # once more, as with every run of a page
    require_file(tmp_path / "secret")
    assert not is_allowed(tmp_path / "inside-not")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero", Path("/dev/null")):
        with pytest.raises(InputError, match="expected a file, found a device or pipe"):
            reading(path)


def test_what_is_not_there_is_an_error_of_the_system(inside: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_file(inside / "nothing")


def test_paths_begin_at_the_folder(inside: Path) -> None:
    assert shortened(f"{inside}/a/b.pt: bad, see {inside}/c") == "inside/a/b.pt: bad, see inside/c"
    assert shortened(f"'{inside}': a folder in {inside}.") == "'inside': a folder in inside."
    for other in (f"{inside}-not/a", f"{inside}.bak/a", f"/mnt{inside}/a", str(inside.parent)):
        assert shortened(other) == other


def test_commands_name_paths_in_full_unless_others_see_them(tmp_path: Path) -> None:
    folder, file = tmp_path / "suites", f"{tmp_path}/suites/a/suite.toml"
    assert told(file) == file
    allow_only([folder])
    assert told(Path(file)) == file
    allow_only([folder], hidden=True)
    assert told(file) == "suites/a/suite.toml"
    assert told("demo") == "demo"
