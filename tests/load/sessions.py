"""Hold sessions on an app of its own for some minutes, and print what they met with.

    python tests/load/sessions.py --sessions 20 --minutes 5
    python tests/load/sessions.py --sessions 8 --minutes 1.5 --waves 3     # come and go: does memory grow?
    python tests/load/sessions.py --sessions 6 --minutes 1 --fault memory  # must find it
    python tests/load/sessions.py --sessions 6 --minutes 1 --fault clock   # must find nothing

Each session is a WebSocket that speaks as the browser does. It opens one page after the other with a recipe of its own,
or one that a second session has as well, stays on it for some seconds, and answers what asks to be run again. Printed
are how long pages took, errors, what one session saw of another's, and the memory of the server.

What one sees of another's is an address or a text with another's λ, and above all numbers: afterwards every recipe is
opened alone, in a new app, and each figure and headline number that a session was shown must be among those there, or
among the first looks of one that stays with them. `--fault` breaks the app in one of the ways that this is to find, or
disturbs it in one that it is to bear (`altered_app.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parents[1]))

from elements import Shown, kind
from serve_wheel import answers, free_port

PAGES = (
    *("", "merge", "accuracy", "interference", "compare", "sensitivity", "studies", "embeddings", "experts"),
    *("resolve", "figures"),
)
METHODS = ("task-arithmetic", "ties", "averaging", "tsv-m", "iso-c")
SHARED = ("compare", "resolve")  # pages that show what others measured or made, on purpose
STAY, PATIENCE = 4.0, 120.0  # seconds on a page that is drawn, and until one that is not is left


@dataclass
class Seen:
    """What all sessions met with: seconds until a page's first element and until it was drawn, and what was wrong."""

    first: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    drawn: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    slow: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    crosstalk: Counter[str] = field(default_factory=Counter)
    numbers: dict[tuple[int, str], set[Shown]] = field(default_factory=lambda: defaultdict(set))  # of a recipe's page
    messages: int = 0
    own: int = 0  # messages that name the session's own scale
    hurried: int = 0  # sessions that came to no second page: only there one meets with what another chose meanwhile


class Session:
    """A visitor with a recipe, which is known by its scale."""

    def __init__(self, number: int, sessions: int, seen: Seen) -> None:
        self.recipe = recipe = number % max(1, sessions // 2)
        self.number, self.seen = number, seen
        self.method, self.scale = METHODS[recipe % len(METHODS)], f"0.3{recipe:02}7193"
        self.others = re.compile(rb".{0,40}(?<![\d.])0\.3(?!%02d)\d\d7193(?!\d)" % recipe, re.DOTALL)
        self.page, self.fragments = "", dict[str, float]()
        self.place, self.there = "", False  # Streamlit's name of the page, and whether that has come
        self.run, self.running = 0, False
        self.shown = dict[tuple[int, ...], tuple[int, Shown]]()  # the numbers on the page, by place, and their run

    def query(self) -> str:
        return urlencode({"method": self.method, f"{self.method}.scale": self.scale})

    async def visit(self, url: str, until: float, over: asyncio.Event) -> None:
        async with connect(url, subprotocols=["streamlit"], max_size=None, ping_interval=None) as socket:
            for step in range(self.number, 10**9):
                if over.is_set() or time.monotonic() > until:
                    self.seen.hurried += step - self.number < 2
                    return
                await self.open(socket, PAGES[step % len(PAGES)], STAY)

    async def open(self, socket: ClientConnection, page: str, stay: float) -> None:
        """Open a page, wait until it is drawn, stay for so many seconds, and note the numbers on it."""
        self.page, self.fragments, self.shown, self.there = page, {}, {}, False
        started, first = time.monotonic(), None
        await socket.send(rerun(self.query(), page))
        while True:
            left = started + PATIENCE - time.monotonic()
            try:
                message = ForwardMsg.FromString(await asyncio.wait_for(socket.recv(), max(0.01, left)))
            except TimeoutError:
                self.seen.slow[page] += 1
                return
            self.look(message)
            if not self.there:  # what the page before was still drawing
                continue
            if first is None and message.WhichOneof("type") == "delta" and message.delta.HasField("new_element"):
                first = time.monotonic() - started
                self.seen.first[page].append(first)
            if message.WhichOneof("type") == "script_finished":
                if message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    continue
                self.seen.drawn[page].append(time.monotonic() - started)
                break
        await self.stay(socket, stay)
        self.seen.numbers[self.recipe, page].update(shown for _, shown in self.shown.values())

    async def stay(self, socket: ClientConnection, seconds: float) -> None:
        """Answer for some seconds and until the run under way has ended, and run the fragments that ask for it."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end or (self.running and now < end + PATIENCE):
            for fragment, due in self.fragments.items():
                if due <= now < end:
                    self.fragments[fragment] = now + 2
                    await socket.send(rerun(self.query(), place=self.place, fragment=fragment))
            try:
                self.look(ForwardMsg.FromString(await asyncio.wait_for(socket.recv(), 0.2)))
            except TimeoutError:
                continue

    def look(self, message: ForwardMsg) -> None:
        """Note what is wrong with a message."""
        what, page = message.WhichOneof("type"), self.page or "overview"
        self.seen.messages += 1
        if what == "navigation":
            self.place = message.navigation.page_script_hash
            paths = {item.page_script_hash: item.url_pathname for item in message.navigation.app_pages}
            if self.there and paths[self.place] != self.page:
                self.seen.errors[f"{page}: another page was drawn, {paths[self.place] or 'overview'}"] += 1
            self.there = paths[self.place] == self.page
        elif what == "new_session":
            self.run, self.running = self.run + 1, True
        elif what == "script_finished":
            self._ended(message.script_finished)
        elif not self.there:
            return
        elif what == "auto_rerun":
            self.fragments[message.auto_rerun.fragment_id] = time.monotonic() + message.auto_rerun.interval
        elif what == "page_info_changed":
            scale = parse_qs(message.page_info_changed.query_string).get(f"{self.method}.scale")
            if scale != [self.scale]:
                self.seen.crosstalk[f"{page}: the address of another session"] += 1
        elif what == "delta" and message.delta.HasField("new_element"):
            element = message.delta.new_element
            place = tuple(message.metadata.delta_path)
            self.shown.pop(place, None)
            if kind(element) is not None:
                self.shown[place] = self.run, Shown.of(element)
            if element.HasField("exception"):
                self.seen.errors[f"{page}: {element.exception.type}: {element.exception.message[:200]}"] += 1
            if element.HasField("alert") and element.alert.format == Alert.ERROR:
                self.seen.errors[f"{page}: {element.alert.body[:200]}"] += 1
            self.seen.own += self.scale.encode() in element.SerializeToString()
            if page not in SHARED and (found := self.others.search(element.SerializeToString())):
                self.seen.crosstalk[f"{page}: the scale of another session: {found[0]!r}"] += 1

    def _ended(self, how: int) -> None:
        self.running = False
        if self.there and how == ForwardMsg.FINISHED_SUCCESSFULLY:
            # What an earlier run left in places that this one, of the whole page, does not fill is gone.
            self.shown = {place: item for place, item in self.shown.items() if item[0] == self.run}


def rerun(query: str, page: str = "", place: str = "", fragment: str = "") -> bytes:
    """Return the browser's message that asks for a page, or for a fragment of the page that is open, by its `place`."""
    message = BackMsg()
    asked = message.rerun_script
    asked.query_string, asked.page_name, asked.page_script_hash = query, page, place
    if fragment:
        asked.fragment_id, asked.is_auto_rerun = fragment, True
    return message.SerializeToString()


def taken(pid: int) -> str:
    """Return the memory of a process in MB: all, and what is not mapped from files."""
    found = dict(re.findall(r"(VmRSS|RssAnon):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii")))
    return f"{int(found['VmRSS']) / 1000:,.0f} MB ({int(found['RssAnon']) / 1000:,.0f} MB without mapped files)"


def percentiles(values: list[float]) -> str:
    ordered = sorted(values) or [float("nan")]
    places = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95))
    return " | ".join(f"{value:.2f}" for value in (*places, ordered[-1]))


async def hold(port: int, sessions: int, minutes: float, seen: Seen, over: asyncio.Event | None = None) -> None:
    """Hold sessions for some minutes, or until it is `over`."""
    until = time.monotonic() + 60 * minutes

    async def one(number: int) -> None:
        await asyncio.sleep(0.5 * number)  # visitors do not come at the same moment
        try:
            await Session(number, sessions, seen).visit(address(port), until, over or asyncio.Event())
        except Exception as error:
            seen.errors[f"session: {type(error).__name__}: {error}"] += 1

    await asyncio.gather(*map(one, range(sessions)))


async def alone(port: int, sessions: int, seen: Seen, shown: Seen) -> None:
    """Add to `shown` what lone sessions are shown on the pages whose numbers are not all among that yet."""
    for (recipe, page), numbers in list(seen.numbers.items()):
        for stay in (0.5, STAY):  # some of a page comes later
            if page not in SHARED and strangers(numbers, shown.numbers[recipe, page]):
                async with connect(address(port), subprotocols=["streamlit"], max_size=None) as socket:
                    await Session(recipe, sessions, shown).open(socket, page, stay)


def strangers(numbers: Iterable[Shown], known: Iterable[Shown]) -> dict[Shown, Shown | None]:
    """Return what shows nothing that is known, each with the nearest to it of what is known."""
    titles = {each: each.title() for each in known}
    nearest = {
        each: min(titles, key=lambda other: (each.distance(other), titles[other] != each.title()), default=None)
        for each in numbers
    }
    return {each: other for each, other in nearest.items() if other is None or each.distance(other) > 1}


def compare(suite: str, workspace: str, sessions: int, seen: Seen) -> str:
    """Note as cross-talk all numbers that no lone session is shown of the same recipe; return how many are."""
    shown = Seen()
    for how in (None, "hasty"):  # a busy app stays with first looks for longer
        with served(suite, workspace, how) as (port, _):
            asyncio.run(alone(port, sessions, seen, shown))
    agree = 0
    for (recipe, page), numbers in [item for item in seen.numbers.items() if item[0][1] not in SHARED]:
        other = strangers(numbers, shown.numbers[recipe, page])
        agree += len(numbers) - len(other)
        for each, nearest in other.items():
            about = "nothing else" if nearest is None else each.difference(nearest)
            seen.crosstalk[f"{page or 'overview'}: one alone is not shown {each.title()}: {about}"] += 1
    return f"{agree:,} different figures and headline numbers are those that one alone is shown"


def address(port: int) -> str:
    return f"ws://127.0.0.1:{port}/_stcore/stream"


@contextmanager
def served(suite: str, workspace: str, alter: str | None = None) -> Iterator[tuple[int, int]]:
    """Serve an app, altered where a way is named; yield its port and process id."""
    port = free_port()
    program = ["-m", "ri_analysis.cli"] if alter is None else [str(Path(__file__).with_name("altered_app.py")), alter]
    command = [sys.executable, *program, "app", suite, "--port", str(port), "--workspace", workspace]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not answers(f"http://127.0.0.1:{port}/_stcore/health"):
            time.sleep(0.5)
            if server.poll() is not None:
                raise SystemExit(f"the app ended with {server.poll()}")
        time.sleep(3)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--waves", type=int, default=1, help="how often all sessions come and leave again")
    parser.add_argument("--after", type=float, default=60, help="seconds to wait after all have left")
    parser.add_argument("--suite", default="demo")
    parser.add_argument("--workspace", help="a folder that stays; by default a new one, so that all is measured")
    parser.add_argument("--fault", help="to be found: memory, session; to be borne: clock, asleep")
    options = parser.parse_args()
    seen = Seen()
    with tempfile.TemporaryDirectory() as new:
        workspace = options.workspace or new
        with served(options.suite, workspace, options.fault) as (port, process):
            print(f"memory before: {taken(process)}", flush=True)
            for wave in range(options.waves):
                asyncio.run(hold(port, options.sessions, options.minutes, seen))
                print(f"{wave + 1}: at the end {taken(process)}; load {os.getloadavg()[0]:.1f}", flush=True)
                time.sleep(options.after)
                print(f"{wave + 1}: {options.after:.0f} s after they left {taken(process)}", flush=True)
        table(seen)
        print(compare(options.suite, workspace, options.sessions, seen))
    for name, found in (("errors", seen.errors), ("cross-talk", seen.crosstalk)):
        print(f"{name}: {found.total() or 'none'}", *(f"  {count}: {what}" for what, count in found.items()), sep="\n")
    if seen.hurried:
        print(f"{seen.hurried} sessions came to no second page: cross-talk may be unseen; give it more minutes")
    return 1 if seen.errors or seen.crosstalk or not seen.own or seen.hurried else 0


def table(seen: Seen) -> None:
    """Print how long pages took."""
    times = "first element, s: 50 % | 95 % | most | drawn, s: 50 % | 95 % | most"
    print(f"\n| page | drawn | left after {PATIENCE:.0f} s | {times} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for page in PAGES:
        row = percentiles(seen.first[page]), percentiles(seen.drawn[page])
        print(f"| {page or 'overview'} | {len(seen.drawn[page])} | {seen.slow[page]} | {row[0]} | {row[1]} |")
    every = [[value for each in kind.values() for value in each] for kind in (seen.first, seen.drawn)]
    print(f"| all | {len(every[1])} | {seen.slow.total()} | {percentiles(every[0])} | {percentiles(every[1])} |")
    print(f"\n{seen.messages:,} messages, {seen.own:,} of them with the session's own scale", flush=True)


if __name__ == "__main__":
    sys.exit(main())
