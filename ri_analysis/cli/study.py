"""`ri-analysis study`."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from ri_analysis.cli.flags import pairs, settings_in_words, shared_flags, to_path, whole
from ri_analysis.cli.opening import open_suite
from ri_analysis.errors import InputError
from ri_analysis.json_text import to_json


def add_commands(commands: Any) -> None:
    """Declare the command."""
    study = commands.add_parser(
        "study",
        help="run a study on a suite: a question that takes many merges",
        description="Run a study and write its table, figures and manifest to --out. Measurements are saved in the "
        "workspace; the same command resumes a stopped study.",
    )
    study.add_argument("name", metavar="NAME", help="one of the studies below")
    study.more = _studies_in_words
    shared_flags(study, _study)
    study.add_argument("--out", type=to_path, metavar="DIR", help="folder for table, figures and manifest")
    study.add_argument("--set", action="append", default=[], metavar="K=V", help="a setting of the study, listed below")
    study.add_argument(
        "--dry-run", action="store_true", help="print what is left to measure, with the time and memory it takes"
    )
    study.add_argument(
        "--jobs", type=whole(1, 1024), default=1, metavar="N", help="processes on this machine (default 1)"
    )
    study.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of a Dask scheduler whose workers run the measurements"
    )
    study.add_argument("--no-images", dest="images", action="store_false", help="write figures as HTML only")
    study.add_argument(
        "--docs",
        type=to_path,
        action="append",
        default=[],
        metavar="FILE",
        help="also write the result into this Markdown file; may be given more than once",
    )
    study.add_argument("--json", action="store_true", help="print the manifest as JSON")


def _studies_in_words() -> str:
    from ri_analysis.studies import STUDIES

    return "\nstudies and their settings:\n" + "".join(
        f"  {study.name} — {study.question}\n{settings_in_words(study.settings, ranges=False)}"
        for study in STUDIES.values()
    )


def _study(options: argparse.Namespace) -> int:
    from ri_analysis.files import check_target
    from ri_analysis.hyperparameters import complete
    from ri_analysis.studies import find_study
    from ri_analysis.studies.output import FILES, MANIFEST, check_documents, document

    study = find_study(options.name)
    given = pairs(options.set, "--set")
    complete(study.settings, given, study.name)  # before a suite is opened
    if not options.dry_run:
        if options.out is None:
            raise InputError("--out: expected a folder for the study's files, found none")
        for path in (options.out / MANIFEST, *options.docs):
            check_target(path)
        check_documents(study, options.docs)
    opened = open_suite(options)
    for name in () if options.dry_run else FILES:
        opened.check_output(options.out / name)
    planned = opened.plan_study(study, given)
    if options.dry_run:
        print(planned.estimate(options.jobs))
        return 0
    found = planned.conduct(jobs=options.jobs, scheduler=options.scheduler)
    record = found.manifest(shlex.join(["ri-analysis", *sys.argv[1:]]))
    found.write(options.out, images=options.images, record=record)
    for path in options.docs:
        document(study, found.table, record, path)
    print(to_json(record, indent=2) if options.json else f"{found.says}\n{options.out}")
    return 0
