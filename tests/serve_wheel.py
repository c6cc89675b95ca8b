"""Start `ri-analysis app` in an empty folder and wait until it answers: `python serve_wheel.py COMMAND`."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def main(command: str) -> int:
    port = free_port()
    with tempfile.TemporaryDirectory() as workspace:
        arguments = [command, "app", "--port", str(port), "--workspace", workspace]
        environment = {"STREAMLIT_SERVER_HEADLESS": "true"}
        server = subprocess.Popen(["env", *(f"{k}={v}" for k, v in environment.items()), *arguments])
        try:
            started = time.monotonic()
            while time.monotonic() - started < 120:
                if answers(f"http://127.0.0.1:{port}/_stcore/health"):
                    print(f"the app answers after {time.monotonic() - started:.1f} s")
                    return 0
                if server.poll() is not None:
                    break
                time.sleep(0.3)
            print("the app does not answer", file=sys.stderr)
            return 1
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
