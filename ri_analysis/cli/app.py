"""`ri-analysis app`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ri_analysis.cli.flags import command, whole


def add_commands(commands: Any) -> None:
    """Declare the command."""
    app = command(commands, "app", _app, "open the app in a browser")
    app.add_argument("--host", help="address to serve on (default: Streamlit's settings, else 127.0.0.1)")
    app.add_argument("--port", type=whole(1, 65535), help="port to serve on (default: Streamlit's settings, else 8501)")
    app.add_argument("--base-path", metavar="P", help="path of the app's address behind a proxy, such as /ri-analysis")


def _app(options: argparse.Namespace) -> int:
    """Serve the app, in this process: what it imports is ready before the server answers."""
    from ri_analysis.suite import EMBEDDED, resource_root, suite_path

    suite = options.suite if options.suite in EMBEDDED else str(suite_path(options.suite).resolve())
    os.environ["RI_ANALYSIS_SUITE"] = suite
    os.environ["RI_ANALYSIS_DEVICE"] = options.device
    if options.workspace is not None:
        os.environ["RI_ANALYSIS_WORKSPACE"] = str(options.workspace.resolve())
    if options.fresh:
        os.environ["RI_ANALYSIS_FRESH"] = "1"
    if options.float32:
        os.environ["RI_ANALYSIS_FLOAT32"] = "1"
    # Waiting threads must not spin: a session that waits would take the core that another computes on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    print("ri-analysis: starting …", file=sys.stderr)
    from streamlit.web import bootstrap

    from ri_analysis import ui
    from ri_analysis.engine import Store, default_workspace, pick_device
    from ri_analysis.ui import server, stopped

    stopped.note_command()

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
