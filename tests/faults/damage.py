"""Ways to damage a file, or a store of answers, at random."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random


def _flipped(data: bytearray, random: Random) -> bytes:
    for _ in range(random.choice((1, 1, 20))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return data


def _cut(data: bytearray, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def _zeros(data: bytearray, random: Random) -> bytes:
    place = random.randrange(len(data)) // 4096 * 4096
    page = data[place : place + 4096]
    return data[:place] + bytes(len(page)) + data[place + len(page) :]


def _noise(data: bytearray, random: Random) -> bytes:
    place = random.randrange(len(data))
    part = data[place : place + random.randrange(1, 3000)]
    return data[:place] + random.randbytes(len(part)) + data[place + len(part) :]


def damage(path: Path, random: Random) -> str:
    """Damage a file's bytes, or remove it; return how."""
    way = random.choice((_flipped, _flipped, _cut, _zeros, _noise, None))
    if way is None:
        path.unlink()
        return "gone"
    path.write_bytes(way(bytearray(path.read_bytes()), random))
    return way.__name__[1:]


def _swapped(store: Path, random: Random) -> None:
    """Exchange the value of one row for that of another."""
    with closing(sqlite3.connect(store)) as file, file:
        table = random.choice(("outcomes", "features", "answers"))
        rows = file.execute(f"select rowid, value from {table}").fetchall()
        if len(rows) > 1:
            (row, _), (_, value) = random.sample(rows, 2)
            file.execute(f"update {table} set value = ? where rowid = ?", (value, row))


def _miscounted(store: Path, random: Random) -> None:
    """Change how many images a row says it is of."""
    with closing(sqlite3.connect(store)) as file, file:
        table = random.choice(("outcomes", "features"))
        row, count = random.choice(file.execute(f"select rowid, count from {table}").fetchall() or [(0, 0)])
        changed = random.choice((1, 5, 10**6, count + 1, count - 1))
        file.execute(f"update or ignore {table} set count = ? where rowid = ?", (changed, row))


def _journal(store: Path, random: Random) -> None:
    """Put noise beside the store where SQLite looks for what is not in it yet."""
    for end in ("-wal", "-shm"):
        store.with_name(store.name + end).write_bytes(random.randbytes(random.randrange(1, 40_000)))


def _folder(store: Path, _: Random) -> None:
    store.unlink()
    store.mkdir()


def damage_store(store: Path, random: Random) -> str:
    """Damage a store's bytes, its rows, or what lies beside it; return how."""
    ways: tuple[Callable[[Path, Random], object], ...] = (_swapped, _miscounted, _journal, _folder)
    way = random.choice((damage, damage, damage, *ways))
    return str(way(store, random) or way.__name__[1:])


def damage_store_in_use(store: Path, random: Random) -> str:
    """Damage a store that others have open, but for the file that they have mapped, which SQLite trusts; return how."""
    log = store.with_name(f"{store.name}-wal")
    file = random.choice([each for each in (store, store, log) if each.is_file() and each.stat().st_size])
    return f"{file.name} {random.choice((damage, _replaced))(file, random)}"


def _replaced(file: Path, random: Random) -> str:
    """Put another file in its place, whose bytes are damaged; who has it open keeps the old one."""
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    how = damage(other, random)
    if other.exists():
        other.replace(file)
    return f"replaced by one that is {how}"
