"""Make the two subsets of Source Sans 3 from its variable font: python make.py SourceSans3[wght].ttf FOLDER."""

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

NAME = "RI Sans"  # the licence reserves the name "Source" for unmodified files
WEIGHTS = {"Regular": 400, "Bold": 600}
# Latin, Greek, combining marks, punctuation, sub- and superscripts, arrows, mathematical signs, geometric shapes.
RANGES = (
    "20-7E A0-17F 218-21B 2C6-2DD 300-304 391-3C9 2010-2027 2030-203A 2070-2089 20AC 2122 2190-2195 2200-22FF 25A0-25FF"
)
FEATURES = ["kern", "liga", "lnum", "tnum", "mark", "mkmk", "ccmp", "locl"]


def main(source: str, folder: str) -> None:
    """Write one WOFF2 file for each weight."""
    ends = (part.partition("-")[::2] for part in RANGES.split())
    wanted = [code for low, high in ends for code in range(int(low, 16), int(high or low, 16) + 1)]
    for style, weight in WEIGHTS.items():
        font = instancer.instantiateVariableFont(TTFont(source), {"wght": weight})
        for place, text in {
            1: NAME,
            2: style,
            3: f"{NAME} {style}",
            4: f"{NAME} {style}",
            6: f"RISans-{style}",
        }.items():
            font["name"].setName(text, place, 3, 1, 0x409)
        options = subset.Options(layout_features=FEATURES, flavor="woff2", name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14])
        cut = subset.Subsetter(options)
        cut.populate(unicodes=wanted)
        cut.subset(font)
        font.flavor = "woff2"
        font.save(Path(folder) / f"RISans-{style}.woff2")


if __name__ == "__main__":
    main(*sys.argv[1:])
