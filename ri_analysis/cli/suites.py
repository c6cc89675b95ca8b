"""`ri-analysis check` and `methods`: what there is to work with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ri_analysis.cli.flags import command, plugin_flag, settings_in_words
from ri_analysis.json_text import to_json

if TYPE_CHECKING:
    from ri_analysis.engine import Report
    from ri_analysis.merging import Method


def add_commands(commands: Any) -> None:
    """Declare the commands."""
    command(commands, "check", _check, "report every problem of a suite, and remarks on its files")
    methods = commands.add_parser("methods", help="list the merging methods and their hyperparameters")
    methods.add_argument("--json", action="store_true", help="print JSON")
    plugin_flag(methods)
    methods.set_defaults(run=_methods)


def _check(options: argparse.Namespace) -> int:
    from ri_analysis.api.progress import Progress
    from ri_analysis.engine import check_suite

    show = Progress("checking", "steps")
    report = check_suite(options.suite, options.workspace, show, options.device, note=show.note)
    show.end()
    for line in report.passed:
        print(f"ok    {line}")
    for line in report.remarks:
        print(f"note  {line}")
    for finding in report.findings:
        print(f"wrong {finding}")
    print(_verdict(report))
    return 2 if report.findings else 0


def _verdict(report: Report) -> str:
    from ri_analysis.figures import words

    if report.findings:
        return words.count(len(report.findings), "problem")
    if report.remarks:
        return f"the suite can be used; {words.count(len(report.remarks), 'remark')}"
    return "the suite is valid"


def _methods(options: argparse.Namespace) -> int:
    from ri_analysis.merging import METHODS
    from ri_analysis.merging.method import NEEDS

    if options.json:
        print(to_json([_described(method) for method in METHODS.values()], indent=2))
        return 0
    for method in METHODS.values():
        needs = f" Needs {method.needs}: {NEEDS[method.needs]}." if method.needs else ""
        print(f"{method.name} — {method.summary}{needs}\n    {method.reference}")
        print(settings_in_words(method.hyperparameters), end="")
    return 0


def _described(method: Method) -> dict[str, Any]:
    """Return a method's declaration as plain JSON values."""
    from ri_analysis.merging.method import AUXILIARY_IMAGES, TASK_DATA

    return {
        "name": method.name,
        "title": method.title,
        "summary": method.summary,
        "formula": method.formula,
        "reference": method.reference,
        "per_task_coefficients": method.weighted,
        "needs_task_data": method.needs == TASK_DATA,
        "needs_auxiliary_images": method.needs == AUXILIARY_IMAGES,
        "hyperparameters": [
            {
                "name": item.name,
                "label": item.label,
                "unit": item.unit,
                "meaning": item.meaning,
                "default": item.default,
                "range": list(item.choices) or [item.low, item.high],
                "sweep": list(item.choices or item.sweep or (item.low, item.high)),
            }
            for item in method.hyperparameters
        ],
    }
