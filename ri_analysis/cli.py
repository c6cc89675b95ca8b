"""The command line: the same library calls as the app. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

from ri_analysis import __version__
from ri_analysis.errors import Cancelled, InputError
from ri_analysis.json_text import to_json

_LONGEST = 2000  # characters of an error message
_EVERY = 10.0  # seconds between two lines of progress where stderr is no terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 130 interrupted, 141 nobody reads the output."""
    try:
        try:
            options = _parser().parse_args(arguments)
            command: Callable[[argparse.Namespace], int] = options.run
            return command(options)
        finally:
            sys.stdout.flush()  # here, where it is seen if that fails
    except InputError as error:
        return _failed(str(error))
    except BrokenPipeError:
        _close_output()
        return 141  # what a shell says of a program that a closed pipe ends
    except OSError as error:
        from ri_analysis.files import in_words

        if error.filename is not None:
            return _failed(f"{os.fsdecode(error.filename)}: {in_words(error)}")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        _close_output()
        return _failed(f"the output can't be written: {in_words(error)}")
    except (KeyboardInterrupt, Cancelled):
        _say_last("stopped")
        return 130


def _failed(message: str) -> int:
    """Print one message, cut in the middle where it is very long; return the exit code."""
    if len(message) > _LONGEST:
        left_out = len(message) - _LONGEST
        message = f"{message[: _LONGEST // 2]} … ({left_out:,} characters) … {message[-_LONGEST // 2 :]}"
    _say_last(message)
    return 2


def _say_last(message: str) -> None:
    over_the_bar = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{over_the_bar}ri-analysis: {message}", file=sys.stderr)


def _close_output() -> None:
    """Let nothing more be written to an output that takes nothing: Python would try once more at its end."""
    with suppress(OSError):  # under a test, stdout is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- commands: libraries are imported inside, so that `--help` answers at once ----------------------------------


def _app(options: argparse.Namespace) -> int:
    """Serve the app, in this process: what it imports is ready before the server answers."""
    from ri_analysis.suite import resource_root, suite_path

    suite = options.suite if options.suite in _embedded() else str(suite_path(options.suite).resolve())
    os.environ["RI_ANALYSIS_SUITE"] = suite
    os.environ["RI_ANALYSIS_DEVICE"] = options.device
    if options.workspace is not None:
        os.environ["RI_ANALYSIS_WORKSPACE"] = str(options.workspace.resolve())
    if options.fresh:
        os.environ["RI_ANALYSIS_FRESH"] = "1"
    # Waiting threads must not spin: a session that waits would take the core that another computes on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    print("ri-analysis: starting …", file=sys.stderr)
    from streamlit.web import bootstrap

    from ri_analysis import ui
    from ri_analysis.engine import Store, default_workspace, pick_device
    from ri_analysis.ui import server

    pick_device(options.device)
    Store(options.workspace or default_workspace()).close()
    flags = {server.ADDRESS: options.host, server.PORT: options.port, server.BASE_PATH: options.base_path}
    settings = server.settings(flags)
    if (warning := server.open_to_others()) is not None:
        print(f"ri-analysis: {warning}", file=sys.stderr)
    ui.preload()
    bootstrap.run(str(resource_root() / "app.py"), False, [], settings)
    # The interpreter's own end takes seconds, and one of torch's libraries then prints a page about leaked objects.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _check(options: argparse.Namespace) -> int:
    from ri_analysis.engine import check_suite

    show = _Progress("checking", "steps")
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


def _verdict(report: Any) -> str:
    from ri_analysis.figures import words

    if report.findings:
        return words.count(len(report.findings), "problem")
    if report.remarks:
        return f"the suite can be used; {words.count(len(report.remarks), 'remark')}"
    return "the suite is valid"


def _methods(options: argparse.Namespace) -> int:
    from ri_analysis.merging import METHODS

    if options.json:
        print(to_json([_described(method) for method in METHODS.values()], indent=2))
        return 0
    for method in METHODS.values():
        needs = "" if method.statistic is None else " Needs task data: unlabelled validation images."
        print(f"{method.name} — {method.summary}{needs}\n    {method.reference}")
        for item in method.hyperparameters:
            print(f"    {item.name} = {item.default}  {item.meaning} ({item.range_text})")
    return 0


def _described(method: Any) -> dict[str, Any]:
    """Return a method's declaration as plain JSON values."""
    return {
        "name": method.name,
        "title": method.title,
        "summary": method.summary,
        "formula": method.formula,
        "reference": method.reference,
        "per_task_coefficients": method.weighted,
        "needs_task_data": method.statistic is not None,
        "hyperparameters": [
            {
                "name": item.name,
                "meaning": item.meaning,
                "default": item.default,
                "range": list(item.choices) or [item.low, item.high],
                "sweep": list(item.choices or item.sweep or (item.low, item.high)),
            }
            for item in method.hyperparameters
        ],
    }


def _study(options: argparse.Namespace) -> int:
    from ri_analysis.files import check_target
    from ri_analysis.hyperparameters import complete
    from ri_analysis.studies import find_study
    from ri_analysis.studies.conducting.conduct import conduct, plan
    from ri_analysis.studies.conducting.crew import Crew, Place, dask_scheduler, process_pool, threads_each
    from ri_analysis.studies.conducting.tables import KeptTable
    from ri_analysis.studies.output import MANIFEST, check_documents, document, estimate, manifest, write

    study = find_study(options.name)
    settings = complete(study.settings, _pairs(options.set, "--set"), study.name)
    if not options.dry_run:
        if options.out is None:
            raise InputError("--out: expected a folder for the study's files, found none")
        for path in (options.out / MANIFEST, *options.docs):
            check_target(path)
        check_documents(study, options.docs)
    evaluator = _evaluator(options)
    suite = evaluator.suite
    _note_files(evaluator, suite.tasks, [name for name in [suite.default_resolved] if name])
    trying = _Progress("trying bfloat16")
    number_format = evaluator.choose_number_format(trying)
    trying.end()
    place = KeptTable.of_study(study, settings, evaluator)
    known = place.find()
    planned = plan(study.rounds(evaluator, settings), evaluator) if known is None else known.plan
    if options.dry_run:
        print(estimate(study, evaluator, planned, options.jobs))
        return 0
    crew: Crew | None = None
    if options.scheduler is not None or options.jobs > 1:
        where = (str(evaluator.suite.spec.path), evaluator.store.workspace.resolve(), options.device)
        if options.scheduler is not None:
            crew = Crew(Place(*where, number_format), dask_scheduler(options.scheduler))
        else:
            crew = Crew(Place(*where, number_format, threads_each(options.jobs)), process_pool(options.jobs))
    show, started = _Progress(study.name), time.monotonic()
    if known is not None:
        table = known.table
    else:
        with crew or nullcontext():
            table = conduct(study.rounds(evaluator, settings), evaluator, planned=planned, crew=crew, progress=show)
        table = place.keep(table, planned.works, time.monotonic() - started)
    show.end()
    record = manifest(study, settings, evaluator, planned, sys.argv, time.monotonic() - started)
    write(study, table, record, options.out, images=options.images)
    for path in options.docs:
        document(study, table, record, path)
    print(to_json(record, indent=2) if options.json else f"{study.verdict(table)}\n{options.out}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    from ri_analysis.engine.own_tasks import expert_remarks
    from ri_analysis.engine.remarks import file_remarks

    evaluator = _evaluator(options)
    show = _Progress("measuring")
    if options.merged is not None:
        _note(file_remarks(evaluator.suite, options.merged, options.tower))
        _note_files(evaluator, evaluator.suite.tasks, (), options.split)
        evaluation = evaluator.measure_file(
            options.merged, tower=options.tower, split=options.split, limit=options.limit, progress=show
        )
    else:
        recipe = _recipe(evaluator, options)
        _note_files(evaluator, recipe.tasks, [recipe.experts], options.split)
        evaluation = evaluator.measure(recipe, split=options.split, limit=options.limit, progress=show)
    show.end()
    _note(expert_remarks(evaluator.suite, evaluation))
    if options.json:
        print(to_json(evaluation.summary(), indent=2))
        return 0
    columns = ["task", "accuracy", "accuracy_low", "accuracy_high", "expert_accuracy", "zero_shot_accuracy"]
    columns += ["interference", "interference_low", "interference_high", "n"]
    print(evaluation.table[columns].to_string(index=False, float_format="{:.3f}".format))
    accuracy, (low, high) = evaluation.mean_accuracy
    drift, (drift_low, drift_high) = evaluation.mean_interference
    print(f"mean accuracy      {accuracy:.4f}  [{low:.4f}, {high:.4f}]")
    print(f"mean interference  {drift:.4f}  [{drift_low:.4f}, {drift_high:.4f}] nats")
    return 0


def _interference(options: argparse.Namespace) -> int:
    from ri_analysis.analyses.report import USUAL, as_json, as_text, chosen
    from ri_analysis.sides import Sides

    wanted = chosen(options.only, blame=options.blame)
    given = _options(options.option, [analysis.name for analysis in wanted])
    evaluator = _evaluator(options)
    recipe = _recipe(evaluator, options)
    after = None if options.after is None else recipe.with_experts(evaluator.suite.expert_set(options.after))
    recipes, show, answers = Sides(recipe, after), _Progress("measuring"), {}
    _note_files(evaluator, recipe.tasks, [each.experts for each in recipes])
    for analysis in wanted:
        why = analysis.refusal(evaluator, recipe) if not options.only and analysis.name in USUAL else ""
        limit = analysis.limit if options.limit is None else options.limit
        answers[analysis.name] = why or analysis.ask(evaluator, recipes, given.get(analysis.name), limit, show)
    show.end()
    if options.json:
        whole = bool(options.only) or after is not None
        print(to_json(as_json(evaluator, recipes, answers, whole=whole), indent=2))
    else:
        print(as_text(answers))
    return 0


def _options(texts: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the options of each analysis: NAME.k=v is one analysis's, k=v that of the only one."""
    found: dict[str, dict[str, str]] = {}
    for key, value in _pairs(texts, "--option").items():
        owner, dot, name = key.rpartition(".")
        if not dot and len(names) != 1:
            raise InputError(f"--option {key}: expected NAME.{key}=VALUE, with NAME one of {', '.join(names)}")
        if dot and owner not in names:
            raise InputError(f"--option {key}: expected an analysis that is asked for, found {owner!r}")
        found.setdefault(owner or names[0], {})[name] = value
    return found


def _report(options: argparse.Namespace) -> int:
    from ri_analysis.analyses import find_analysis
    from ri_analysis.export import glyphs, standard
    from ri_analysis.files import atomic_path
    from ri_analysis.sides import Sides
    from ri_analysis.suite import ORIGINAL

    evaluator = _evaluator(options)
    _check_output(evaluator.suite, options.out)
    chosen = _recipe(evaluator, options)
    resolved = evaluator.suite.default_resolved if chosen.experts == ORIGINAL else chosen.experts
    recipes = Sides(ORIGINAL, resolved).map(chosen.with_experts)
    _note_files(evaluator, chosen.tasks, [recipe.experts for recipe in recipes])
    show = _Progress("measuring")
    answers = [
        find_analysis(name).ask(evaluator, recipes, limit=limit, progress=show)
        for name, limit in standard.LIMITS.items()
    ]
    show.end()
    snapshots = standard.standard_set(evaluator, answers, options.suite)
    with atomic_path(options.out) as path:
        path.write_bytes(standard.written(evaluator, snapshots))
    if note := glyphs.about_pages(snapshot.figure for snapshot in snapshots):
        _note([f"{options.out}: {note}"])
    print(options.out)
    return 0


def _merge(options: argparse.Namespace) -> int:
    from ri_analysis.encoder import load_heads
    from ri_analysis.engine.remarks import suite_remarks
    from ri_analysis.merging import find_method, merge_to_file

    evaluator = _evaluator(options)
    recipe, suite = _recipe(evaluator, options), evaluator.suite
    _check_output(suite, options.out)
    load_heads(suite, evaluator.architecture, recipe.tasks)  # whose numbers would be refused is not merged either
    learns = find_method(recipe.method).statistic is not None
    splits = ["validation"] if learns else []
    _note(suite_remarks(suite, recipe.tasks, [recipe.experts], splits=splits, store=evaluator.store))
    learn, show = _Progress("learning from task images"), _Progress("merging", "tensors")
    merge_to_file(
        suite.task_vectors(recipe.experts, recipe.tasks),
        recipe,
        options.out,
        ingredients=evaluator.ingredients(recipe),
        statistics=evaluator.statistics(recipe, learn),
        metadata={"suite": suite.name},
        progress=show,
    )
    show.end()
    print(options.out)
    return 0


def _resolve(options: argparse.Namespace) -> int:
    from ri_analysis.encoder import load_heads
    from ri_analysis.engine.remarks import suite_remarks
    from ri_analysis.files import check_target
    from ri_analysis.resolving import Losses, resolve
    from ri_analysis.suite import ORIGINAL
    from ri_analysis.suite.suite import RECORD

    if options.out is not None:
        check_target(options.out / RECORD)
    evaluator = _evaluator(options)
    suite = evaluator.suite
    settings = _pairs(options.set, "--set")
    if options.steps is not None:
        settings["steps"] = options.steps
    tasks = _names(options.tasks)
    sources = (options.auxiliary,)
    names = tasks or suite.tasks
    heads = load_heads(suite, evaluator.architecture, names)
    _note(suite_remarks(suite, names, [ORIGINAL], heads=heads, splits=(), auxiliary=sources))
    show = _Progress("resolving", "steps")

    def report(now: Losses) -> None:
        show.note(f"{now.task} step {now.step} loss {now.loss:.4f}")

    folder = resolve(
        suite,
        auxiliary=options.auxiliary,
        name=options.name,
        settings=settings,
        tasks=tasks,
        directory=options.out,
        device=evaluator.device,
        seed=options.seed,
        resume=options.resume,
        progress=show,
        report=report,
    )
    show.end()
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if options.json:
        print(to_json({"directory": str(folder), **record}, indent=2))
    else:
        print(f"{options.name}: {len(record['tasks'])} experts in {folder}")
    return 0


# --- what commands share ----------------------------------------------------------------------------------------


def _embedded() -> tuple[str, ...]:
    from ri_analysis.suite import EMBEDDED

    return EMBEDDED


def _evaluator(options: argparse.Namespace) -> Any:
    import torch

    from ri_analysis.engine import Evaluator, default_workspace
    from ri_analysis.suite import open_suite

    workspace = options.workspace or default_workspace()
    number_format = torch.float32 if options.float32 else None
    suite = open_suite(options.suite, workspace)
    return Evaluator(suite, workspace, options.device, number_format=number_format, fresh=options.fresh)


def _note(remarks: Sequence[str]) -> None:
    """Print the remarks on the files that a command uses."""
    for line in remarks:
        print(f"note  {line}", file=sys.stderr)


def _note_files(evaluator: Any, tasks: Sequence[str], experts: Sequence[str], split: str = "test") -> None:
    """Print the remarks on the files that a measurement uses."""
    from ri_analysis.engine.remarks import suite_remarks
    from ri_analysis.suite import ORIGINAL

    sets = (ORIGINAL, *experts)  # interference is always from the original experts
    store, heads = evaluator.store, evaluator.heads
    _note(suite_remarks(evaluator.suite, tasks, sets, heads=heads, splits=(split,), store=store))


def _check_output(suite: Any, path: Path) -> None:
    """Raise InputError where a file can't be written, or is one that the suite reads: before any long work."""
    from ri_analysis.files import check_target

    check_target(path)
    if (read := suite.reads(path)) is not None:
        raise InputError(f"--out {path}: expected a new file, found one that the suite reads ({read})")


def _recipe(evaluator: Any, options: argparse.Namespace) -> Any:
    coefficients = {}
    for task, text in _pairs(options.coefficient, "--coefficient").items():
        coefficients[task] = _number(text, f"--coefficient {task}")
    lines = None
    if options.lines is not None:
        parts = options.lines.split(",")
        if len(parts) != 2:
            raise InputError(f"--lines: expected ALPHA,BETA, found {options.lines!r}")
        lines = (_number(parts[0], "--lines ALPHA"), _number(parts[1], "--lines BETA"))
    return evaluator.recipe(
        options.method,
        _pairs(options.set, "--set"),
        experts=options.experts,
        tasks=_names(options.tasks),
        coefficients=coefficients,
        lines=lines,
        seed=options.seed,
    )


def _pairs(texts: Sequence[str], flag: str) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"{flag}: expected NAME=VALUE, found {text!r}")
        found[name] = value
    return found


def _positive(text: str) -> int:
    """Return a count of at least one, as argparse wants it."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {number}")
    return number


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name for name in text.split(",") if name)


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{what}: expected a number, found {text!r}") from None


class _Progress:
    """A bar on stderr with the time left; where stderr is no terminal, a line every few seconds."""

    def __init__(self, what: str, unit: str = "images") -> None:
        self._what, self._unit, self._note = what, unit, ""
        self._live, self._shown = sys.stderr.isatty(), time.monotonic()
        self._bar: Any = None
        self._began, self._first, self._done = self._shown, 0, 0

    def note(self, text: str) -> None:
        """Say what is under way, beside the next numbers."""
        self._note = text

    def __call__(self, done: int, total: int) -> None:
        if self._live:
            self._draw(done, total)
        else:
            self._print(done, total)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _draw(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None or done < self._bar.n or total != self._bar.total:
            self.end()  # another piece of work begins
            shown: dict[str, Any] = {"desc": self._what, "unit": f" {self._unit}", "leave": False, "file": sys.stderr}
            self._bar = tqdm(total=total, initial=done, miniters=0, dynamic_ncols=True, **shown)
        self._bar.set_postfix_str(self._note, refresh=False)
        self._bar.update(done - self._bar.n)

    def _print(self, done: int, total: int) -> None:
        from tqdm import tqdm

        now = time.monotonic()
        if done < self._done:  # another piece of work begins
            self._began, self._first = now, done
        self._done = done
        if now - self._shown < _EVERY or done <= self._first:
            return
        self._shown = now
        form = f"{{desc}} {{percentage:3.0f}}%  {{n_fmt}}/{{total_fmt}} {self._unit}  {{remaining}} left{{postfix}}"
        shown = {"prefix": self._what, "postfix": self._note, "bar_format": form, "initial": self._first}
        print(tqdm.format_meter(done, total, now - self._began, **shown), file=sys.stderr, flush=True)


# --- arguments --------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one message instead of all flags."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _whole(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a flag's whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, found {text!r}")
        return number

    return read


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ri-analysis", description="Measure and resolve cross-task interference in model merging.")
    parser.add_argument("--version", action="version", version=f"ri-analysis {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    app = _command(commands, "app", _app, "open the app in a browser")
    app.add_argument("--host", help="address to serve on (default: Streamlit's settings, else 127.0.0.1)")
    app.add_argument(
        "--port", type=_whole(1, 65535), help="port to serve on (default: Streamlit's settings, else 8501)"
    )
    app.add_argument("--base-path", metavar="P", help="path of the app's address behind a proxy, such as /ri-analysis")

    _command(commands, "check", _check, "report every problem of a suite, and remarks on its files")

    methods = commands.add_parser("methods", help="list the merging methods and their hyperparameters")
    methods.add_argument("--json", action="store_true", help="print JSON")
    methods.set_defaults(run=_methods)

    measure = _command(commands, "measure", _measure, "merge by a recipe and measure accuracy and interference")
    _recipe_flags(measure)
    measure.add_argument("--merged", type=Path, metavar="FILE", help="measure this merged checkpoint instead")
    measure.add_argument("--tower", metavar="PREFIX", help="which vision tower of --merged, if it holds several")
    measure.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="images to measure on (default %(default)s)",
    )
    _limit_flag(measure)
    measure.add_argument("--json", action="store_true", help="print JSON")

    interference = _command(commands, "interference", _interference, "analyse a merge: who disturbs whom, and where")
    _recipe_flags(interference)
    interference.add_argument(
        "--after", metavar="NAME", help="also merge this expert set, and compare: ri, or its name"
    )
    interference.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ANALYSIS",
        help="this analysis instead of the usual ones; may be given more than once (see docs/tables.md)",
    )
    interference.add_argument(
        "--option", action="append", default=[], metavar="K=V", help="an option of an analysis; ANALYSIS.K=V of several"
    )
    _limit_flag(interference)
    interference.add_argument("--blame", action="store_true", help="also say which expert causes the drift")
    interference.add_argument("--json", action="store_true", help="print JSON")

    merge = _command(commands, "merge", _merge, "merge by a recipe into a safetensors file that open_clip loads")
    _recipe_flags(merge)
    merge.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")

    _study_command(commands)

    report = _command(commands, "report", _report, "write one HTML page on a suite, before and after RI; works offline")
    _recipe_flags(report)
    report.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .html file to write")

    resolve = _command(commands, "resolve", _resolve, "adapt the experts by Resolving Interference")
    resolve.add_argument("--auxiliary", required=True, metavar="NAME", help="auxiliary source of the suite")
    resolve.add_argument("--name", required=True, help="name of the new expert set")
    resolve.add_argument("--steps", type=_whole(1, 1_000_000), help="optimisation steps per expert")
    resolve.add_argument("--set", action="append", default=[], metavar="K=V", help="another setting of the run")
    resolve.add_argument("--tasks", metavar="A,B,…", help="experts that will be merged (default all)")
    resolve.add_argument("--out", type=Path, metavar="DIR", help="folder of the set (default in the workspace)")
    resolve.add_argument("--resume", action="store_true", help="resume an unfinished run")
    resolve.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _study_command(commands: Any) -> None:
    study = commands.add_parser(
        "study",
        help="run one of the paper's experiments on a suite",
        description="Run a study: table, figures and manifest go to --out. Measurements are saved in the workspace: "
        "the same command resumes a stopped study.",
    )
    study.add_argument("name", metavar="NAME", help="see docs/studies.md")
    _shared_flags(study, _study)
    study.add_argument("--out", type=Path, metavar="DIR", help="folder for table, figures and manifest")
    study.add_argument("--set", action="append", default=[], metavar="K=V", help="a setting of the study")
    study.add_argument(
        "--dry-run", action="store_true", help="say what is left to measure, and the time and memory it takes"
    )
    study.add_argument(
        "--jobs", type=_whole(1, 1024), default=1, metavar="N", help="processes on this machine (default 1)"
    )
    study.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler whose workers do the work")
    study.add_argument("--no-images", dest="images", action="store_false", help="write figures as HTML only")
    study.add_argument(
        "--docs",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also write the outcome into this Markdown file; may be given more than once",
    )
    study.add_argument("--json", action="store_true", help="print the manifest as JSON")


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    _shared_flags(parser, run)
    parser.add_argument(
        "--seed", type=_whole(0, 2**32 - 1), default=0, help="seed of everything random (default %(default)s)"
    )
    return parser


def _shared_flags(parser: Any, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("suite", nargs="?", default="demo", metavar="SUITE", help="suite file (default: demo)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda … (default %(default)s)")
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="folder of stored answers and expert sets")
    parser.add_argument(
        "--float32", action="store_true", help="measure in float32 also where bfloat16 is faster and agrees with it"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="measure here, without the answers that come with the suite"
    )
    parser.set_defaults(run=run)


def _limit_flag(parser: Any) -> None:
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="measure on at most N images a task, a fixed sample"
    )


def _recipe_flags(parser: Any) -> None:
    group = parser.add_argument_group("recipe")
    group.add_argument("--method", default="task-arithmetic", help="see `ri-analysis methods` (default %(default)s)")
    group.add_argument("--set", action="append", default=[], metavar="K=V", help="hyperparameter, such as scale=0.4")
    group.add_argument("--coefficient", action="append", default=[], metavar="TASK=V", help="factor of one τ_t")
    group.add_argument("--tasks", metavar="A,B,…", help="tasks to merge and measure (default all)")
    group.add_argument("--experts", default="original", help="original, ri, or a set's name (default %(default)s)")
    group.add_argument("--lines", metavar="ALPHA,BETA", help="scale blocks by LiNeS")


if __name__ == "__main__":
    sys.exit(main())
