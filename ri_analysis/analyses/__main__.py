"""Write what analyses declare into the documents: `python -m ri_analysis.analyses docs/tables.md`."""

from __future__ import annotations

import sys
from pathlib import Path

from ri_analysis.analyses.documents import SECTION, in_words
from ri_analysis.markdown import write_section

if __name__ == "__main__":
    for name in sys.argv[1:]:
        write_section(Path(name), SECTION, in_words())
