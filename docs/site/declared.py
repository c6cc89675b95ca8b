"""Pages of the site that are drawn from what methods, analyses, studies, RI's settings and commands declare."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Sequence
from inspect import unwrap
from pathlib import Path
from typing import Any

from ri_analysis import api, plugins
from ri_analysis.analyses import ANALYSES, Analysis
from ri_analysis.analyses.documents import options_and_tables
from ri_analysis.cli.run import build_parser
from ri_analysis.figures import words
from ri_analysis.hyperparameters import Hyperparameter
from ri_analysis.merging import METHODS, Method
from ri_analysis.merging.method import AUXILIARY_IMAGES, TASK_DATA
from ri_analysis.resolving import HYPERPARAMETERS, PRESETS
from ri_analysis.studies import STUDIES, Study
from ri_analysis.studies.output import REPORTED
from ri_analysis.suite.spec import read_spec

ROOT = Path(__file__).resolve().parents[2]
DEMO = read_spec(ROOT / "assets" / "demo" / "suite.toml")
OPENING = 'import ri_analysis as ri\n\nsuite = ri.open_suite("demo")'
_APP = {
    "interference": "Interference",
    "accuracy": "Accuracy",
    "embeddings": "Embeddings",
    "sensitivity": "Sensitivity",
    "experts": "Experts",
}
_SEES = {
    "": "No images: it works on the weights alone.",
    TASK_DATA: "Task data: unlabelled `validation` images of every task. Labels and test images are never used.",
    AUXILIARY_IMAGES: "Auxiliary images: those of the source that RI uses, without labels, and no others.",
}
_WIDE, _TIED = 80, "\N{NO-BREAK SPACE}"


def pages() -> dict[str, str]:
    """Return the Markdown of every page by its path in the site."""
    return {
        "methods/index.md": _methods(),
        **{f"methods/{each.name}.md": _method(each) for each in METHODS.values()},
        "analyses/index.md": _analyses(),
        **{f"analyses/{each.name}.md": _analysis(each) for each in ANALYSES.values()},
        "studies/index.md": _studies(),
        **{f"studies/{each.name}.md": _study(each) for each in STUDIES.values()},
        "ri.md": _ri(),
        "commands.md": _commands(),
        "your-experts.md": "# Your own experts\n" + section_of(ROOT / "README.md", "Your own experts"),
        "reference/front-door.md": _reference(
            "The front door",
            "What `import ri_analysis as ri` gives; [From Python](../python.md) shows it at work.",
            *(f"ri_analysis.api.{name}" for name in _in_order(api.__all__)),
        ),
        "reference/plug-ins.md": _reference(
            "What plug-ins are made of",
            "What the files of methods, analyses and studies declare, and what they work with; "
            "[Contributing](../contributing.md) has an example of each.",
            *("ri_analysis.merging.method", "ri_analysis.hyperparameters", "ri_analysis.task_vectors.Layer"),
            *("ri_analysis.analyses.analysis", "ri_analysis.studies.study", "ri_analysis.studies.conducting.point"),
            *("ri_analysis.figures.chart", "ri_analysis.errors"),
        ),
        "reference/engine.md": _reference(
            "Engine and measures",
            "How a model is measured on images, and the pure functions from which the numbers are computed.",
            *("ri_analysis.engine.evaluator.Evaluator", "ri_analysis.engine.evaluation", "ri_analysis.engine.outcomes"),
            *("ri_analysis.measures.interference", "ri_analysis.measures.accuracy", "ri_analysis.measures.distances"),
            *("ri_analysis.measures.blocks", "ri_analysis.measures.weights", "ri_analysis.measures.disentanglement"),
            *("ri_analysis.measures.shapley", "ri_analysis.divergences", "ri_analysis.intervals"),
            "ri_analysis.resolving.objective",
        ),
    }


def _in_order(names: Iterable[str]) -> list[str]:
    """Return the names of the front door, what opens a suite first."""
    first = ("open_suite", "OpenedSuite")
    return [*first, *(name for name in names if name not in first)]


# --- methods ----------------------------------------------------------------------------------------------


def _methods() -> str:
    rows = ((f"[{each.title}]({each.name}.md)", f"`{each.name}`", each.summary) for each in METHODS.values())
    return f"""# Merging methods

{len(METHODS)} methods, each one file; `ri-analysis methods` lists them in a shell, `ri.all_methods()` in Python. Each
merges the original experts or those after RI, and λ is called `scale` wherever there is one. How they compare:
[All methods, before and after RI](../studies/methods.md).

{_table(("method", "name", "what it does"), rows)}

A method of your own is a file as well: [how to write one](../contributing.md#your-own-merging-method).
"""


def _method(method: Method) -> str:
    tasks = [task.name for task in DEMO.tasks]
    few = () if method.merges(len(tasks)) else tuple(tasks[: method.counts[1] or len(tasks)])
    named = {item.name: item.default for item in method.hyperparameters}
    with_all = " ".join(f"--set {name}={words.exact(value)}" for name, value in named.items())
    base = f"--method {method.name}" + (f" --tasks {','.join(few)}" if few else "")
    measured = _line("ri-analysis measure demo", base, with_all, _flags(method.source))
    before_and_after = _line("ri-analysis interference demo", base, "--only accuracy --after ri", _flags(method.source))
    merged = _line(
        "ri-analysis merge demo", base, f"--experts ri --out {method.name}.safetensors", _flags(method.source)
    )
    called = ", ".join([quoted(method.name), *(f"{name}={quoted(value)}" for name, value in named.items())])
    chosen = f", tasks=suite.tasks[:{len(few)}]" if few else ""
    again = f'suite.measure({quoted(method.name)}, experts="ri"{chosen})'
    return f"""# {method.title}

{method.summary}

$${method.formula}$$

{method.reference}. Notation: [Concepts](../concepts.md).

## What it takes

{_bullets(_takes(method))}

## Hyperparameters

{_settings(method.hyperparameters, "It has none.")}

## Use it

With its defaults written out; before and after RI; and as a file:

```bash
{measured}
{before_and_after}
{merged}
```

{_python(f"suite.measure({called}{chosen})", again, source=method.source)}

{_source(method)}
"""


def _takes(method: Method) -> Iterable[str]:
    low, high = method.counts
    if high == low:
        yield f"Exactly {low} experts."
    elif high is not None or low > 1:
        yield f"At least {low} experts." if high is None else f"{low} to {high} experts."
    yield _SEES[method.needs]
    if method.weighted:
        yield "One coefficient for each task, if you like: `--coefficient TASK=V` replaces $\\tau_t$ by $V \\tau_t$."
    else:
        yield "No coefficients for single tasks."
    if method.seeded:
        yield "A seed, `--seed`, as it draws at random."


# --- analyses ---------------------------------------------------------------------------------------------


def _analyses() -> str:
    shown = sorted(ANALYSES.values(), key=lambda each: (each.page != "interference", each.page, each.place))
    rows = ((f"[{each.title}]({each.name}.md)", f"`{each.name}`", each.question) for each in shown)
    return f"""# Analyses

Questions about one merge. Each has a section in the app, `ri-analysis interference` prints its numbers, and
`suite.interference(…)` returns its tables and figures. [All tables on one page](../tables.md).

{_table(("analysis", "name", "question"), rows)}

An analysis of your own is a file: [how to write one](../contributing.md#your-own-analysis).
"""


def _analysis(analysis: Analysis[Any]) -> str:
    place = _APP.get(analysis.page, "")
    where = f"In the app it stands on the page {place}." if place else ""
    rest = f"--only {analysis.name}", _flags(analysis.source)
    name = quoted(analysis.name)
    only = f'suite.interference("ties", only={name}, after="ri")'
    return f"""# {analysis.title}

{analysis.question}

{analysis.formula}

{where}

## Options and tables

{options_and_tables(analysis)}

## Use it

```bash
{_line("ri-analysis interference demo --method ties", *rest)}
{_line("ri-analysis interference demo --method ties --after ri --json", *rest)}
```

{_python(f"found = {only}[{name}]", "found.says", "found.table", "found.figure", source=analysis.source)}
"""


# --- studies ----------------------------------------------------------------------------------------------


def _studies() -> str:
    rows = ((f"[{each.title}]({each.name}.md)", f"`{each.name}`", each.question) for each in STUDIES.values())
    return f"""# Studies

Questions that take many merges: the paper's experiments and ours. [Results](../studies.md) has how to run them, how to
read the numbers, and what was found on the embedded suites.

{_table(("study", "name", "question"), rows)}

A study of your own is a file: [how to write one](../contributing.md#your-own-study).
"""


def _study(study: Study) -> str:
    found = _found(study)
    result = f"## What was found\n\n{found}\n\n" if found else ""
    asked = f"study = suite.study({quoted(study.name)})"
    command = f"ri-analysis study {study.name} demo --out studies/{study.name}", _flags(study.source)
    return f"""# {study.title}

{study.question}

**{REPORTED}** (not re-run by us): {study.finding or "nothing on this question."}

{result}## Settings

{_settings(study.settings, "It has none.")}

## Use it

First what it would take, then the study itself. A stopped study goes on when the same command is given again.

```bash
{_line(*command, "--dry-run")}
{_line(*command)}
```

{_python(asked, "study.says", "study.summary", "study.figure", source=study.source)}
"""


def _found(study: Study) -> str:
    """Return the sentences of docs/studies.md on what a study found, and where its tables stand."""
    title = f"{study.title} (`{study.name}`)"
    said = re.findall(r"^\*\*Here\*\*, on .*$", section_of(ROOT / "docs" / "studies.md", title), re.M)
    if not said:
        return ""
    anchor = re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-")
    return "\n\n".join([*said, f"[The tables, and how they were made](../studies.md#{anchor})."])


# --- RI ---------------------------------------------------------------------------------------------------


def _ri() -> str:
    presets = (
        (
            f"`{each.name}`",
            each.purpose,
            ", ".join(f"`{name}={words.exact(value)}`" for name, value in each.changed.items()) or "the defaults",
            ", ".join(f"`{name}={words.exact(value)}`" for name, value in each.large.items()) or "no others",
        )
        for each in PRESETS.values()
    )
    source = DEMO.auxiliary[0].name
    return f"""# RI: presets and settings

[Concepts](concepts.md#resolving-interference) says what RI does. In the objective there, $\\alpha$ is the setting
`alpha`, and the KL divergence can be another `distance`.

## Presets

{_table(("preset", "what it is for", "what differs from the defaults", "for large towers"), presets)}

## Settings

{_settings(HYPERPARAMETERS)}

## Use it

```bash
ri-analysis resolve demo --auxiliary {source} --name my-set --preset quick --dry-run
ri-analysis resolve demo --auxiliary {source} --name my-set --preset quick
ri-analysis measure demo --method ties --experts my-set
```

```python
{OPENING}
made = suite.resolve({quoted(source)}, "my-set", preset="quick")
suite.measure("ties", experts="my-set")
```
"""


# --- commands ---------------------------------------------------------------------------------------------


def _commands() -> str:
    """Return every command with its flags, from the parser itself."""
    (commands,) = (item for item in build_parser()._actions if isinstance(item, argparse._SubParsersAction))
    parts = [
        "# Command line",
        "Results go to stdout, progress to stderr. Exit code 0: done; 2: bad input, one message.",
    ]
    for name, parser in commands.choices.items():
        rows = ((_named(item), _help(item)) for item in parser._actions if item.dest != "help")
        parts += [f"## `ri-analysis {name}`", parser.description or "", _table(("argument", "what it says"), rows)]
    return "\n\n".join(parts) + "\n"


def _named(item: argparse.Action) -> str:
    value = item.metavar or (item.dest.upper() if item.nargs != 0 and not item.choices else "")
    shown = "|".join(map(str, item.choices)) if item.choices else str(value)
    return ", ".join(f"`{each} {shown}`".replace(" `", "`") for each in item.option_strings) or f"`{shown}`"


def _help(item: argparse.Action) -> str:
    return (item.help or "").replace("%(default)s", str(item.default)).replace("[", "\\[")


# --- parts ------------------------------------------------------------------------------------------------


def section_of(path: Path, title: str) -> str:
    """Return what stands under a heading of the second level, "" where there is no such heading."""
    _, found, rest = path.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0] + "\n" if found else ""


def as_markdown(text: str) -> str:
    """Return a docstring's text with its parameters, each "name: meaning", as a list instead of under a heading."""
    before, heading, after = text.partition("Parameters\n----------\n")
    if not heading:
        return text
    named, gap, rest = after.partition("\n\n")
    items = re.sub(r"^([\w, ]+): ", r"- `\1`: ", named, flags=re.M)
    return f"{before}**Parameters**\n\n{items}{gap}{rest}"


def _settings(items: Sequence[Hyperparameter], none: str = "") -> str:
    """Return a table of settings: name, meaning, default, what is allowed, and what is worth trying if that is said."""
    rows = [
        (
            f"`{item.name}`",
            _meaning(item),
            "" if item.default == "" else f"`{words.exact(item.default)}`",
            item.range_text,
            "" if item.sweep is None else " to ".join(map(words.setting, item.sweep)),
        )
        for item in items
    ]
    columns = 5 if any(row[-1] for row in rows) else 4
    head = ("name", "meaning", "default", "allowed", "worth trying")
    return _table(head[:columns], [row[:columns] for row in rows]) if rows else none


def _meaning(item: Hyperparameter) -> str:
    """Return what a setting means, after its label where that says more than the name."""
    if item.label.startswith(item.name.replace("_", " ")) or item.label in item.meaning:
        unit = f" ({item.unit})" if item.unit and item.unit not in item.meaning else ""
        return f"{item.meaning[0].upper()}{item.meaning[1:]}{unit}"
    return f"{item.heading}: {item.meaning}"


def _python(*lines: str, source: str) -> str:
    """Return Python that opens the suite, and then these lines; calls that are too long get lines of their own."""
    files = plugins.files(source) if source else []
    opening = OPENING.replace('("demo")', f'("demo", plugins={json.dumps(files)})') if files else OPENING
    return "\n".join(["```python", opening, *map(_broken, lines), "```"])


def _broken(line: str) -> str:
    before, opened, arguments = line.partition("(")
    if len(line) <= _WIDE or not arguments.endswith(")"):
        return line
    wrapped = textwrap.fill(
        f"{arguments[:-1]},", _WIDE, initial_indent="    ", subsequent_indent="    ", break_long_words=False
    )
    return f"{before}{opened}\n{wrapped}\n)"


def quoted(value: object) -> str:
    """Return a value as Python has it, a text in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _source(method: Method) -> str:
    """Return the file that a method is, folded up."""
    module = sys.modules[unwrap(method.direction).__module__]
    path = Path(str(module.__file__))
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    code = "\n".join(f"    {line}".rstrip() for line in path.read_text(encoding="utf-8").rstrip().splitlines())
    return (
        f'## Code {{ data-search-exclude="" }}\n\n??? code "`{shown}`"\n\n    ```{{.python .source}}\n{code}\n    ```'
    )


def _flags(source: str) -> str:
    return shlex.join(plugins.flags(source)) if source else ""


def _line(*parts: str) -> str:
    """Return a shell command of these parts, in several lines where it is long; none begins with a flag's value."""
    line = " ".join(filter(None, parts))
    lines = textwrap.wrap(re.sub(r" (?!-)", _TIED, line), _WIDE, break_on_hyphens=False, break_long_words=False)
    return " \\\n    ".join(lines).replace(_TIED, " ")


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("\n", " ") for cell in line) + " |" for line in lines)


def _reference(title: str, text: str, *names: str) -> str:
    """Return a page of what mkdocstrings says of modules and classes."""
    return "\n\n".join([f"# {title}", text, *(f"::: {name}" for name in names)]) + "\n"
