"""The command line: the same library calls as the app. Results go to stdout, progress and errors to stderr."""

from ri_analysis.cli.run import main

__all__ = ["main"]
