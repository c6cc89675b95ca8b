"""From a folder of checkpoints, heads and images to a draft of its suite file, and from that to the file's text."""

from ri_analysis.suite.drafting.draft import Choice, Draft, Open, draft
from ri_analysis.suite.drafting.text import require_new, to_toml

__all__ = ["Choice", "Draft", "Open", "draft", "require_new", "to_toml"]
