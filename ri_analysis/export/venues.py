"""How wide figures are in print: the columns and text widths of common venues."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Width:
    """The width of a column or of the text, in inches, and where it is written down."""

    name: str
    inches: float
    source: str


# Style files in centimetres, worked out (1 in = 2.54 cm):
# acl.sty sets geometry to a4paper (21.0 cm wide) with margin=2.5cm and \columnsep to 0.6 cm, so \textwidth is
# 16.0 cm = 6.299 in and \columnwidth (16.0 − 0.6) / 2 = 7.7 cm = 3.031 in.
# llncs.cls sets \textwidth to 12.2 cm = 4.803 in.
WIDTHS = (
    Width("ICML, one column", 3.25, "icml2025.sty and its example paper: two columns of 3.25 in, 0.25 in apart"),
    Width("ICML, both columns", 6.75, "icml2025.sty: text 6.75 in wide"),
    Width("NeurIPS, ICLR", 5.5, "neurips_2025.sty, iclr2025_conference.sty: text 5.5 in wide, 9 in high"),
    Width("CVPR, ICCV, one column", 3.25, "cvpr.sty and author guidelines: columns 3 1/4 in wide, 5/16 in apart"),
    Width("CVPR, ICCV, both columns", 6.875, "cvpr.sty: text 6 7/8 in wide, 8 7/8 in high"),
    Width("ACL, one column", 3.03, "acl.sty: columns 7.7 cm wide, 0.6 cm apart"),
    Width("ACL, both columns", 6.3, "acl.sty: text 16.0 cm wide"),
    Width("ECCV, Springer LNCS", 4.8, "llncs.cls: text 12.2 cm wide"),
)
DEFAULT = WIDTHS[2]
