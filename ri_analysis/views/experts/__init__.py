"""The Experts page: open a suite, what each of its files is, and what fine-tuning changed."""

from ri_analysis.views.experts.another import open_another
from ri_analysis.views.experts.opened import changes, check, files, open_name

__all__ = ["changes", "check", "files", "open_another", "open_name"]
