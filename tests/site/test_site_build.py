"""The site as a whole: built without a warning, no link to nowhere, nothing that is loaded from elsewhere."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ri_analysis.analyses import ANALYSES
from ri_analysis.merging import METHODS
from ri_analysis.studies import STUDIES

pytest.importorskip("mkdocs", reason="needs ri-analysis[docs]")

from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Page(HTMLParser):
    """What a page leads to and loads, and the places in it that can be led to."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        self.places |= {named[name] for name in ("id", "name") if name in named}
        self.classes |= set(named.get("class", "").split())
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif "src" in named or "href" in named:
            self.loaded.append(named.get("src") or named["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    found = {path.relative_to(site).as_posix(): Page.read(path) for path in site.rglob("*.html")}
    del found["404.html"]  # its links are from the root of a server
    return found


@pytest.mark.long
def test_every_method_analysis_and_study_has_its_page(pages: dict[str, Page]):
    for folder, registry in (("methods", METHODS), ("analyses", ANALYSES), ("studies", STUDIES)):
        assert {f"{folder}/{name}.html" for name in registry} <= set(pages)
        from_start = {posixpath.normpath(link) for link in pages["index.html"].links}
        assert f"{folder}/index.html" in from_start


def test_every_document_is_a_page_that_the_navigation_leads_to(pages: dict[str, Page]):
    reached, new = set(), {"index.html"}
    while new:
        reached |= new
        linked = {
            posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
            for page in new
            for link in pages[page].links
        }
        new = {link.partition("#")[0] for link in linked} & set(pages) - reached
    assert reached == set(pages)
    assert {f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} <= set(pages)


def missing(pages: dict[str, Page], site: Path) -> Iterator[tuple[str, str]]:
    """Yield each link to a file or to a place in a page that there is not."""
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (
                posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path))) if parts.path else name
            )
            place = unquote(parts.fragment)
            if not (site / target).is_file() or (place and target in pages and place not in pages[target].places):
                yield name, link


def test_no_link_leads_nowhere(pages: dict[str, Page], site: Path):
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert list(missing(pages, site)) == []
    pages["index.html"].links.append("concepts.html#nowhere")
    assert list(missing(pages, site)) == [("index.html", "concepts.html#nowhere")]
    pages["index.html"].links.pop()


def test_nothing_is_loaded_from_other_hosts(pages: dict[str, Page], site: Path):
    assert {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc} == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", styles) == []
    assert not any("mermaid" in page.classes for page in pages.values())  # the theme would load a library for it


def test_colours_are_the_apps(site: Path):
    light, dark = (site / "site" / "colours.css").read_text(encoding="utf-8").split("[data-md-color-scheme=")[1:]
    themes = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    for text, theme in ((light, themes["light"]), (dark, themes["dark"])):
        for name, key in (("default-bg", "backgroundColor"), ("typeset-a", "linkColor"), ("typeset", "textColor")):
            assert f"--md-{name}-color:{theme[key]};" in text


def test_formulas_are_drawn_without_scripts(pages: dict[str, Page], site: Path):
    texts = {name: (site / name).read_text(encoding="utf-8") for name in pages}
    assert [
        name
        for name, text in texts.items()
        if "arithmatex" in text or re.search(r">[^<]*\\(?:theta|lambda|frac|xi)", text.partition("<pre")[0])
    ] == []
    assert all("<math" in texts[f"methods/{name}.html"] for name in METHODS)
    assert texts["concepts.html"].count('class="formula"') > 20


def test_links_of_the_repository_are_links_of_the_site(site: Path):
    start, contributing = (Page.read(site / f"{name}.html").links for name in ("index", "contributing"))
    assert {"your-experts.html", "contributing.html", "formats.html"} <= set(start)
    assert {"benchmarks.html", "reliability.html"} <= set(contributing)
    text = (site / "your-experts.html").read_text(encoding="utf-8")
    assert "are in <code>assets/benchmarks</code> in the repository" in text
