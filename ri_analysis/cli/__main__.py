"""`python -m ri_analysis.cli` is `ri-analysis`."""

import sys

from ri_analysis.cli import main

if __name__ == "__main__":
    sys.exit(main())
