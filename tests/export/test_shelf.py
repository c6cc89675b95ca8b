from __future__ import annotations

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

from ri_analysis.errors import WriteError
from ri_analysis.export import shelf
from ri_analysis.export.shelf import SUFFIX, Kept, Shelf
from ri_analysis.export.snapshot import Origin, Snapshot

ORIGIN = Origin(
    "tiny", "abc", ("TIES", "ties, λ = 0.3"), ("a", "b"), "http://x/?y", (("torch", "2"),), "2026", "r.json"
)
TABLE = pd.DataFrame({"task": ["Reds", None], "n": [1, 2], "share": [0.1, float("nan")]})


def snapshot(number: int = 0) -> Snapshot:
    return Snapshot.of(go.Figure(go.Bar(y=[1.5, number])), TABLE, "headline", "Read *so*.", "2 images.", ORIGIN)


def keep(folder: Path, *snapshots: Snapshot) -> Shelf:
    made = Shelf(folder)
    for place, each in enumerate(snapshots):
        made.put(each.key, Kept(float(place), each))
    return made


def test_a_figure_comes_back_as_it_was(tmp_path: Path):
    given = replace(snapshot(), title="Ünïcode ξ", width=3.25, height=2.5)
    found, remarks = keep(tmp_path / "new" / "folder", given).read()
    (back,) = found.values()
    assert not remarks
    assert back.place == 0.0
    assert replace(back.snapshot, table=given.table) == given
    pd.testing.assert_frame_equal(back.snapshot.table, TABLE)
    assert back.snapshot.figure == given.figure


def test_figures_stand_in_the_order_of_their_places(tmp_path: Path):
    one, two, three = map(snapshot, range(3))
    made = keep(tmp_path, one, two, three)
    made.put(three.key, Kept(0.5, three))
    assert list(made.read()[0]) == [one.key, three.key, two.key]
    made.put(one.key, None)
    made.put(one.key, None)  # another session may have been first
    assert list(made.read()[0]) == [three.key, two.key]
    assert made.sizes().keys() == made.read()[0].keys()
    assert Shelf(tmp_path / "nowhere").read() == ({}, [])


def rewritten(path: Path, **fields: object) -> None:
    with zipfile.ZipFile(path) as parts:
        held = {name: parts.read(name) for name in parts.namelist()}
    held["fields.json"] = json.dumps(json.loads(held["fields.json"]) | fields).encode()
    with zipfile.ZipFile(path, "w") as parts:
        for name, data in held.items():
            parts.writestr(name, data)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width": 1e9}, "inches"),
        ({"height": float("nan")}, "inches"),
        ({"place": float("inf")}, "place inf"),
        ({"origin": {}}, "suite"),
        ({"origin": []}, "list"),
        ({"title": None}, None),
    ],
)
def test_fields_are_checked(tmp_path: Path, fields: dict[str, object], said: str | None):
    made = keep(tmp_path, snapshot(), snapshot(1))
    rewritten(tmp_path / f"{snapshot().key}{SUFFIX}", **fields)
    found, remarks = made.read()
    if said is None:
        assert found[snapshot().key].snapshot.title == "None"
    else:
        assert list(found) == [snapshot(1).key]
        assert len(remarks) == 1
        assert said in remarks[0]


@pytest.mark.parametrize("drawn", ["[1]", '{"data": [{"type": "nothing"}], "layout": {}}', "{"])
def test_what_plotly_cannot_draw_is_a_remark(tmp_path: Path, drawn: str):
    made = keep(tmp_path, snapshot())
    path = tmp_path / f"{snapshot().key}{SUFFIX}"
    with zipfile.ZipFile(path) as parts:
        held = {name: parts.read(name) for name in parts.namelist()}
    with zipfile.ZipFile(path, "w") as parts:
        for name, data in (held | {"figure.json": drawn.encode()}).items():
            parts.writestr(name, data)
    found, remarks = made.read()
    assert not found
    assert f"{path}: expected a pinned figure" in remarks[0]


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = keep(tmp_path, snapshot())
    monkeypatch.setattr(shelf, "MOST_BYTES", 1000)
    assert "more than 1,000 bytes" in made.read()[1][0]


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("")
    made = Shelf(tmp_path / "file" / "figures")
    with pytest.raises(WriteError, match="is a file, not a folder"), made.changing():
        pass
    assert made.read() == ({}, [])


def _append(folder: Path, count: int) -> None:
    made, key = Shelf(folder), snapshot().key
    for _ in range(count):
        with made.changing():
            kept = made.get(key)
            assert kept is not None
            made.put(key, replace(kept, snapshot=replace(kept.snapshot, caption=kept.snapshot.caption + "x")))


def test_nobody_loses_anothers_edit(tmp_path: Path):
    made = keep(tmp_path, replace(snapshot(), caption=""))
    with ThreadPoolExecutor(2) as sessions:
        for session in [sessions.submit(_append, tmp_path, 15) for _ in range(2)]:
            session.result(timeout=300)
    (kept,) = made.read()[0].values()
    assert kept.snapshot.caption == 30 * "x"
