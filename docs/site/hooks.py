"""What MkDocs calls while it builds the site: see mkdocs.yml.

Pages come from three places: docs/, a few documents elsewhere in the repository, and declarations (see `declared`).
Links between documents are written as they work in the repository; here they are turned into the site's.
"""

from __future__ import annotations

import html
import posixpath
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import declared
import griffe
from math_core import LatexToMathML
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from ri_analysis import plugins
from ri_analysis.errors import InputError
from ri_analysis.export import fonts
from ri_analysis.figures import look

ROOT = declared.ROOT
DOCUMENTS = {
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "assets/demo/README.md": "data/demo.md",
    "assets/demo/LICENSES.md": "data/licences.md",
    "assets/demo-halves/README.md": "data/demo-halves.md",
}
OF_README = {"#your-own-experts": "your-experts.md"}  # what stands on a page of its own, by its anchor
_LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?!\w+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_CODE = re.compile(r"^(?P<fence> *```).*?^(?P=fence)`*[ ]*$|^(?: {4}[^\n]*\n)+", re.M | re.S)
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>(?P<then>[.,;:)]*)', re.S
)


class Docstrings(griffe.Extension):
    """Has docstrings say their parameters as Markdown does."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """See griffe.Extension."""
        if obj.docstring is not None:
            obj.docstring.value = declared.as_markdown(obj.docstring.value)


@cache
def generated() -> Mapping[str, str]:
    """Return the pages that declarations make; plug-ins that the environment names have theirs."""

    def refuse(problem: str) -> None:
        raise InputError(problem)

    plugins.load(plugins.named(), refuse)
    return declared.pages()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation, where it names their folder with a star."""
    generated.cache_clear()  # `mkdocs serve` builds again and again
    config.nav = _with_pages(config.nav)
    return config


def _with_pages(nav: Any) -> Any:
    if isinstance(nav, list):
        return [page for item in nav for page in _every(item)]
    if isinstance(nav, dict):
        return {title: _with_pages(inner) for title, inner in nav.items()}
    return nav


def _every(item: Any) -> list[Any]:
    if not isinstance(item, str) or not item.endswith("/*"):
        return [_with_pages(item)]
    return [path for path in generated() if path.startswith(item[:-1]) and not path.endswith("/index.md")]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/, the colours, and the font."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    for source, path in DOCUMENTS.items():
        files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    folder = Path(fonts.__file__).parent
    for name in (*fonts.FILES.values(), "OFL.txt"):
        files.append(File.generated(config, f"fonts/{name}", abs_src_path=str(folder / name)))
    files.append(File.generated(config, "site/colours.css", content=colours()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a document's links into the site's; what is in the repository only is named instead."""
    source = _source(page.file)
    if source is None:
        return markdown

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found["path"]))
        path, anchor = DOCUMENTS.get(target, target.removeprefix("docs/")), found["anchor"] or ""
        if target == "README.md":
            path, anchor = OF_README.get(anchor, "index.md"), ""
        if files.get_file_from_path(path) is not None:
            relative = posixpath.relpath(path, posixpath.dirname(page.file.src_uri) or ".")
            return f"{found['text']}({relative}{anchor})"
        if (ROOT / target).exists():
            said = found["text"][1:-1]
            return f"`{target}` in the repository" if said == target else f"{said} (`{target}` in the repository)"
        return found[0]

    return _outside_code(markdown, lambda text: _LINK.sub(link, text))


def _source(file: File) -> str | None:
    """Return where in the repository a page's text comes from, None for one drawn from declarations."""
    if file.src_uri == "your-experts.md":
        return "README.md"
    if file.abs_src_path is None:
        return None
    return Path(file.abs_src_path).relative_to(ROOT).as_posix()


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    parts, last = [], 0
    for code in _CODE.finditer(markdown):
        parts += [change(markdown[last : code.start()]), code[0]]
        last = code.end()
    return "".join([*parts, change(markdown[last:])])


def on_page_content(content: str, **_: Any) -> str:
    """Turn formulas into MathML, which browsers draw by themselves. Raises LatexError for what can't be."""
    converter = LatexToMathML(fancy_error=False)

    def formula(found: re.Match[str]) -> str:
        latex, block = html.unescape(found["latex"]), found["open"] == "["
        drawn = converter.convert_with_local_state(latex, displaystyle=block)
        if block:
            return f'<div class="formula">{drawn}</div>{found["then"]}'
        return f'<span class="formula">{drawn}{found["then"]}</span>'  # no line ends before a full stop

    return _FORMULA.sub(formula, content)


def colours() -> str:
    """Return the app's colours and font as the theme's variables."""
    themes = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    faces = (
        f'@font-face{{font-family:"{fonts.FAMILY}";font-weight:{weight};src:url(../fonts/{name}) format("woff2")}}'
        for weight, name in fonts.FILES.items()
    )
    return "\n".join([*faces, *(_theme(*each, themes) for each in (("default", "light"), ("slate", "dark")))])


def _theme(scheme: str, name: str, themes: Mapping[str, Any]) -> str:
    theme, shades = themes[name], look.shades(name == "dark")
    values = {
        "default-bg-color": theme["backgroundColor"],
        "default-fg-color": theme["textColor"],
        "default-fg-color--light": shades.muted,
        "default-fg-color--lighter": shades.band,
        "default-fg-color--lightest": shades.grid,
        "primary-fg-color": theme["backgroundColor"],  # of the header
        "primary-bg-color": theme["textColor"],
        "primary-bg-color--light": shades.muted,
        "accent-fg-color": theme["primaryColor"],
        "typeset-color": theme["textColor"],
        "typeset-a-color": theme["linkColor"],
        "typeset-table-color": theme["borderColor"],
        "code-bg-color": theme["secondaryBackgroundColor"],
        "code-fg-color": theme["textColor"],
        "code-hl-number-color": theme["textColor"],
        "footer-bg-color": theme["backgroundColor"],
        "footer-bg-color--dark": theme["backgroundColor"],
        "footer-fg-color": theme["textColor"],
        "footer-fg-color--light": shades.muted,
        "footer-fg-color--lighter": shades.muted,
        "text-font": look.FONT.replace('"Source Sans",', f'"{fonts.FAMILY}", "Source Sans",', 1),
    }
    lines = "".join(f"--md-{key}:{value};" for key, value in values.items())
    return f'[data-md-color-scheme="{scheme}"]{{{lines}--border:{theme["borderColor"]}}}'
