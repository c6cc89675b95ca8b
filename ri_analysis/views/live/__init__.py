"""The live Merge page: sliders, and bars that follow them (live.js, live.css)."""

from ri_analysis.views.live.section import figures_section, notes, opened, pins_section, section, take_away

__all__ = ["figures_section", "notes", "opened", "pins_section", "section", "take_away"]
