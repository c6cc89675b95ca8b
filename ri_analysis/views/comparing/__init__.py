"""The Compare page: many recipes in one table, and figures of those that are ticked."""

from ri_analysis.views.comparing.section import section

__all__ = ["section"]
