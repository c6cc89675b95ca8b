"""`ri-analysis app`."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ri_analysis.cli.flags import command, to_path, whole
from ri_analysis.errors import InputError


def add_commands(commands: Any) -> None:
    """Declare the command."""
    app = command(commands, "app", _app, "open the app in a browser")
    app.add_argument("--host", help="address to serve on (default: Streamlit's settings, else 127.0.0.1)")
    app.add_argument("--port", type=whole(1, 65535), help="port to serve on (default: Streamlit's settings, else 8501)")
    app.add_argument("--base-path", metavar="P", help="path of the app's address behind a proxy, such as /ri-analysis")
    app.add_argument(
        "--allow",
        type=to_path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="also allow suites in this folder, besides the embedded ones and those in the folder of SUITE; no other "
        "files are read; may be given more than once",
    )
    app.add_argument(
        "--token",
        action=argparse.BooleanOptionalAction,
        help="admit only those who have the printed address (default: if other machines can reach the app)",
    )


def _app(options: argparse.Namespace) -> int:
    """Serve the app, in this process: what it imports is ready before the server answers."""
    from ri_analysis.suite import EMBEDDED, suite_path

    suite = options.suite if options.suite in EMBEDDED else str(suite_path(options.suite).absolute())
    os.environ["RI_ANALYSIS_SUITE"] = suite
    os.environ["RI_ANALYSIS_DEVICE"] = options.device
    os.environ["RI_ANALYSIS_ALLOW"] = os.pathsep.join(_folders(options.allow))
    if options.workspace is not None:
        os.environ["RI_ANALYSIS_WORKSPACE"] = str(options.workspace.absolute())
    if options.fresh:
        os.environ["RI_ANALYSIS_FRESH"] = "1"
    if options.float32:
        os.environ["RI_ANALYSIS_FLOAT32"] = "1"
    # Waiting threads must not spin: a session that waits would take the core that another computes on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    print("ri-analysis: starting …", file=sys.stderr)
    from ri_analysis import views
    from ri_analysis.engine import Store, default_workspace, pick_device
    from ri_analysis.ui import gate, resources, server, shell, stopped

    views.load()

    pick_device(options.device)
    Store(options.workspace or default_workspace()).close()
    flags = {server.ADDRESS: options.host, server.PORT: options.port, server.BASE_PATH: options.base_path}
    server.settings(flags)
    wanted = server.reached_by_others() if options.token is None else options.token
    token = gate.new_token() if wanted else None
    if token is None:
        stopped.note_command()  # it names folders
    else:
        os.environ[resources.SHARED] = "1"
    shell.preload()
    with suppress(KeyboardInterrupt):
        server.serve(token, resources.named_folders())
    # The interpreter's own end takes seconds, and one of torch's libraries then prints a page about leaked objects.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _folders(given: list[Path]) -> list[str]:
    """Return the folders of --allow, absolute."""
    for folder in given:
        if not folder.is_dir():
            raise InputError(f"--allow {folder}: expected a folder, found none")
        if os.pathsep in str(folder):
            raise InputError(f"--allow {folder}: expected a name without {os.pathsep!r}")
    return [str(folder.resolve()) for folder in given]
