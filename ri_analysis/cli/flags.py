"""What the flags of commands share. Commands import libraries inside, so that `--help` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ri_analysis.documents import own_path
from ri_analysis.errors import InputError, bounded
from ri_analysis.memory import size

if TYPE_CHECKING:
    from ri_analysis.hyperparameters import Hyperparameter


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one message, and whose help may end with what `more` returns."""

    more: Callable[[], str] | None = None

    def format_help(self) -> str:
        """Return the help; what it takes libraries to say is looked up only here."""
        return super().format_help() + (self.more() if self.more is not None else "")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as usual, but refuse `--flag=--`, of which some versions of Python make a list."""
        for flag in args or ():
            if flag.startswith("--") and flag.endswith("=--"):
                self.error(f"argument {flag[:-3]}: expected a value, found '--'")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one message instead of all flags."""
        self.exit(2, f"{self.prog}: {bounded(message)}; see {self.prog} --help\n")


def command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> Any:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    shared_flags(parser, run)
    seed_flag(parser)
    return parser


def seed_flag(parser: Any) -> None:
    parser.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=0, help="seed of everything random (default %(default)s)"
    )


def shared_flags(parser: Any, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("suite", nargs="?", default="demo", metavar="SUITE", help="suite file (default: demo)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda … (default %(default)s)")
    parser.add_argument("--workspace", type=to_path, metavar="DIR", help="folder for saved results and expert sets")
    parser.add_argument(
        "--float32", action="store_true", help="measure in float32 even where bfloat16 is faster and agrees with it"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="measure again, ignoring the results that come with the suite"
    )
    parser.add_argument(
        "--memory",
        type=memory_size,
        metavar="SIZE",
        help="memory to stay within, such as 8GB, shared by all workers: less is held, in smaller batches",
    )
    plugin_flag(parser)
    parser.set_defaults(run=run)


def plugin_flag(parser: Any) -> None:
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="also load the method, analysis or study in this Python file, in all of a folder, or in an installed "
        "package (give its entry point's name); may be given more than once",
    )


def limit_flag(parser: Any) -> None:
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="measure on at most N images a task, a fixed sample"
    )


def recipe_flags(parser: Any) -> None:
    group = parser.add_argument_group("recipe")
    group.add_argument("--method", default="task-arithmetic", help="see `ri-analysis methods` (default %(default)s)")
    group.add_argument("--set", action="append", default=[], metavar="K=V", help="hyperparameter, such as scale=0.4")
    group.add_argument(
        "--coefficient", action="append", default=[], metavar="TASK=V", help="factor of one task vector τ_t"
    )
    group.add_argument("--tasks", metavar="A,B,…", help="tasks to merge and measure (default all)")
    group.add_argument("--experts", default="original", help="original, ri, or a set's name (default %(default)s)")
    group.add_argument("--lines", metavar="ALPHA,BETA", help="scale blocks by LiNeS")


def whole(low: int, high: int) -> Callable[[str], int]:
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


def to_path(text: str) -> Path:
    """Return a flag's path, as argparse wants it: a shell leaves the `~` of `--flag=~/folder` as it is."""
    try:
        return own_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def memory_size(text: str) -> int:
    """Return a flag's size in bytes, as argparse wants it."""
    try:
        return size(text, "--memory")
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--memory: ")) from error


def positive(text: str) -> int:
    """Return a count of at least one, as argparse wants it."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {number}")
    return number


def pairs(texts: Sequence[str], flag: str) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputError(f"{flag}: expected NAME=VALUE, found {text!r}")
        found[name] = value
    return found


def names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name for name in text.split(",") if name)


def number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{what}: expected a number, found {text!r}") from None


def settings_in_words(items: Sequence[Hyperparameter], *, ranges: bool = True) -> str:
    """Return a line for each setting: "learning rate (lr) = 1e-06: …"."""
    defaults = {item.name: "" if item.default == "" else f" = {item.default}" for item in items}
    lines = (f"{item.title}{defaults[item.name]}: {item.meaning}{f'; {item.range_text}' * ranges}" for item in items)
    return "".join(f"    {line}\n" for line in lines)
