"""A figure as it was: with its table, its words, and how its numbers were computed."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import pandas as pd
import plotly
import plotly.graph_objects as go
import torch

from ri_analysis import __version__, plugins
from ri_analysis.export import paper, venues
from ri_analysis.figures import look, reading
from ri_analysis.files import digest

_LONGEST = 60  # letters of a file's name


@dataclass(frozen=True)
class Origin:
    """Where numbers come from: suite and digest of its weights and images, what was merged, and how to do it again.

    `recipes` are in words; `commands` are for a shell; `address` is the app's page with its parameters, empty where
    there is none; `versions` are of the programs that computed; `file` holds the numbers, empty where none does.
    """

    suite: str
    suite_digest: str
    recipes: tuple[str, ...]
    commands: tuple[str, ...]
    address: str
    versions: tuple[tuple[str, str], ...]
    made: str
    file: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """Return it as labels with texts."""
        return [
            ("Suite", f"{self.suite}, digest {self.suite_digest}"),
            *(("Recipe", recipe) for recipe in self.recipes),
            *(("Page of the app", address) for address in [self.address] if address),
            *(("Numbers in", file) for file in [self.file] if file),
            *(("Command", command) for command in self.commands),
            ("Versions", ", ".join(f"{name} {version}" for name, version in self.versions)),
            ("Made", self.made),
        ]


def versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of the programs that results depend on, and which plug-ins are loaded."""
    return (
        ("ri-analysis", __version__),
        ("torch", torch.__version__),
        ("plotly", plotly.__version__),
        ("python", platform.python_version()),
        *plugins.versions(),
    )


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Snapshot:
    """A figure in the light look (as JSON), the table behind it, and its words; nothing in it changes afterwards.

    `name` is for file names; `n` says on how many images it rests; width and height are in inches, in print.
    """

    name: str
    title: str
    caption: str
    n: str
    json: str
    table: pd.DataFrame
    origin: Origin
    width: float
    height: float

    @classmethod
    def of(cls, figure: go.Figure, table: pd.DataFrame, name: str, caption: str, n: str, origin: Origin) -> Snapshot:
        """Take a snapshot at the default width, with the height that suits the figure."""
        light, width = look.in_light(figure), venues.DEFAULT.inches
        height, title = paper.natural_height(light, width), reading.title(name)
        return cls(name, title, caption, n, str(light.to_json()), table.copy(), origin, width, height)

    @cached_property
    def figure(self) -> go.Figure:
        """The figure as it was on the page, in the light look."""
        return go.Figure(plotly.io.from_json(self.json))

    @cached_property
    def printed(self) -> go.Figure:
        """The figure as it goes into a paper."""
        return paper.for_paper(self.figure, self.width, self.height)

    @property
    def file_name(self) -> str:
        """What its files are called, without a suffix: its title, as far as file systems take it."""
        plain = re.sub(r"[^\w.-]+", "-", self.title.lower()).strip("-.")
        return plain[:_LONGEST].rstrip("-.") or self.name

    @property
    def key(self) -> str:
        """One name for the same numbers of the same recipes, whatever title, caption and size they are given."""
        return digest(self.json, *self.origin.recipes)

    def with_width(self, width: float) -> Snapshot:
        """Return the same figure at another width, with the height that suits it."""
        return replace(self, width=width, height=paper.natural_height(self.figure, width))

    @property
    def bytes(self) -> int:
        """About how much memory it holds."""
        return len(self.json) + int(self.table.memory_usage(deep=True).sum())
