"""What the eight tasks are, how each source is split, and what the pretraining gets to see of them.

Every split is made once from a fixed seed. Test and validation images are never trained on, by the pretraining
or by an expert; of letters, whole typeface families are held back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ri_analysis.demo.glyphs import Look, Typeface, draw, families_with
from ri_analysis.demo.sources import Labelled, Sources

TEST_IMAGES = 512
VALIDATION_IMAGES = 256

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FASHION = (
    "t-shirt",
    "pair of trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DRAWINGS = (
    "alarm clock",
    "apple",
    "bicycle",
    "bowtie",
    "butterfly",
    "cactus",
    "candle",
    "chair",
    "crown",
    "diamond",
    "door",
    "envelope",
    "eye",
    "eyeglasses",
    "fish",
    "flower",
    "hourglass",
    "house",
    "ice cream",
    "key",
    "ladder",
    "light bulb",
    "lightning",
    "mushroom",
    "octopus",
    "pants",
    "pineapple",
    "rainbow",
    "sailboat",
    "scissors",
    "skull",
    "smiley face",
    "snowman",
    "spider",
    "stairs",
    "star",
    "sword",
    "t-shirt",
    "umbrella",
    "wine glass",
)
GREEK = {
    **{
        chr(code): "small " + unicodedata.name(chr(code)).split()[-1].lower()
        for code in range(0x3B1, 0x3CA)
        if code != 0x3C2
    },
    **{letter: "capital " + unicodedata.name(letter).split()[-1].lower() for letter in "ΓΔΘΛΞΠΣΦΨΩ"},
}
CYRILLIC = dict(
    zip(
        "абвгдежзийклмнопрстуфхцчшщъыьэюя",
        (
            "a",
            "be",
            "ve",
            "ghe",
            "de",
            "ye",
            "zhe",
            "ze",
            "i",
            "short i",
            "ka",
            "el",
            "em",
            "en",
            "o",
            "pe",
            "er",
            "es",
            "te",
            "u",
            "ef",
            "ha",
            "tse",
            "che",
            "sha",
            "shcha",
            "hard sign",
            "yeru",
            "soft sign",
            "e",
            "yu",
            "ya",
        ),
        strict=True,
    )
)
HEBREW = {chr(code): unicodedata.name(chr(code)).removeprefix("HEBREW LETTER ").lower() for code in range(0x5D0, 0x5EB)}
LATIN = {
    **{letter: f"small {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"},
    **{letter.upper(): f"capital {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"},
}

SCRIPTS = {
    "Greek": (GREEK, Look("dark")),
    "Cyrillic": (CYRILLIC, Look("light")),
    "Hebrew": (HEBREW, Look("parchment")),
}
# Handwriting, decorative and archaic families: no expert sees them, they are the unseen typefaces.
DECORATIVE = {
    "Greek": (
        "GFS Theokritos",
        "GFS Solomos",
        "GFS Gazis",
        "GFS Complutum",
        "GFS BodoniClassic",
        "Klee One",
        "Z003",
        "El Abogado Loco",
        "Comfortaa",
        "Keter",
        "Jura",
    ),
    "Cyrillic": ("TriodPostnaja", "Steve", "Klee One", "Z003", "Comfortaa", "okolaks", "Jura", "Yanone"),
    "Hebrew": (
        "Ktav Yad",
        "Anka",
        "Comix",
        "Dorian",
        "Gan",
        "Ozrad",
        "Journal",
        "Ellinia",
        "Gladia",
        "Horev",
        "Trashim",
        "Daniel",
        "Noto Rashi",
        "Skechers",
        "Sticks",
        "Strokes",
        "Mixer",
        "Kimchi",
        "Hidekel",
        "Linux Libertine",
        "Linux Biolinum",
    ),
}
TEMPLATES = {
    "MNIST": ("a handwritten {}.", "the handwritten digit {}.", "a white handwritten {} on black."),
    "FashionMNIST": ("a catalogue photo of a {}.", "a gray photo of a {}.", "a {}, a piece of fashion."),
    "CIFAR10": ("a photo of a {}.", "a small colour photo of a {}.", "a blurry photo of the {}."),
    "QuickDraw": ("a drawing of a {}.", "a quick sketch of a {}.", "a doodle of a {}."),
    "UCIDigits": ("a coarse scan of a {}.", "a coarse scan of the digit {}.", "a tiny blurry {}."),
    "Greek": ("the greek letter {}.", "{}, a letter of the greek alphabet.", "a printed greek {}."),
    "Cyrillic": ("the cyrillic letter {}.", "{}, a letter of the cyrillic alphabet.", "a printed cyrillic {}."),
    "Hebrew": ("the hebrew letter {}.", "{}, a letter of the hebrew alphabet.", "a printed hebrew {}."),
}


@dataclass(frozen=True)
class TaskData:
    """One task of the suite, with its three disjoint splits and the few images the pretraining sees of it."""

    name: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled
    weak: Labelled


@dataclass(frozen=True)
class PretrainSource:
    """Captioned images of the pretraining: class names and templates make the captions.

    Attributes:
        weight: share of the pretraining samples, relative to the other sources.
        flip: whether a mirror image still fits its caption.
    """

    name: str
    data: Labelled
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    weight: float
    flip: bool = False


def balanced(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of `count` random images, spread over the classes as evenly as they allow."""
    order = rng.permutation(len(labels))
    rank = np.empty(len(labels), np.int64)  # each image's place within its own class
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        rank[rows] = np.arange(len(rows))
    return np.sort(order[np.lexsort((labels[order], rank[order]))][:count])


def without(total: int, *taken: np.ndarray) -> np.ndarray:
    """Row numbers that were not taken."""
    return np.setdiff1d(np.arange(total), np.concatenate(taken))


def _from_pair(
    name: str,
    classes: tuple[str, ...],
    train: Labelled,
    test: Labelled,
    weak_per_class: int,
    rng: np.random.Generator,
) -> TaskData:
    validation = balanced(train.labels, VALIDATION_IMAGES, rng)
    rest = train.take(without(len(train), validation))
    return TaskData(
        name,
        classes,
        TEMPLATES[name],
        rest,
        train.take(validation),
        test.take(balanced(test.labels, TEST_IMAGES, rng)),
        rest.take(balanced(rest.labels, weak_per_class * len(classes), rng)),
    )


def _from_one(
    name: str,
    classes: tuple[str, ...],
    data: Labelled,
    test: int,
    validation: int,
    weak_per_class: int,
    rng: np.random.Generator,
) -> TaskData:
    test_rows = balanced(data.labels, test, rng)
    remaining = without(len(data), test_rows)
    validation_rows = remaining[balanced(data.labels[remaining], validation, rng)]
    rest = data.take(without(len(data), test_rows, validation_rows))
    return TaskData(
        name,
        classes,
        TEMPLATES[name],
        rest,
        data.take(validation_rows),
        data.take(test_rows),
        rest.take(balanced(rest.labels, weak_per_class * len(classes), rng)),
    )


def glyph_set(
    families: Mapping[str, Sequence[Typeface]],
    alphabet: Mapping[str, str],
    count: int,
    look: Look,
    rng: np.random.Generator,
) -> Labelled:
    """`count` letters, classes in turn, each from a random family; gray where the look has no colour."""
    names = sorted(families)
    letters = "".join(alphabet)
    images, labels = [], []
    for number in range(count):
        faces = families[names[rng.integers(len(names))]]
        label = number % len(letters)
        images.append(draw(faces[int(rng.integers(len(faces)))], letters[label], letters, look, rng))
        labels.append(label)
    stacked = np.stack(images)
    return Labelled(stacked[..., 0] if look.kind in ("light", "dark") else stacked, np.asarray(labels, np.int64))


def split_families(
    families: Mapping[str, Sequence[Typeface]], decorative: Sequence[str], rng: np.random.Generator
) -> dict[str, dict[str, Sequence[Typeface]]]:
    """Families → train, validation, test and unseen; `weak` are the few of train that the pretraining sees."""
    unseen = [name for name in families if any(name.startswith(prefix) for prefix in decorative)]
    plain = [name for name in families if name not in unseen]
    plain = [plain[i] for i in rng.permutation(len(plain))]
    test, validation = max(1, round(0.25 * len(plain))), max(1, round(0.12 * len(plain)))
    parts = {
        "unseen": unseen,
        "test": plain[:test],
        "validation": plain[test : test + validation],
        "train": plain[test + validation :],
        "weak": plain[test + validation :][:WEAK_FAMILIES],
    }
    return {part: {name: families[name] for name in names} for part, names in parts.items()}


WEAK_FAMILIES = 2
WEAK_PER_CLASS = {"MNIST": 4, "FashionMNIST": 8, "CIFAR10": 100, "QuickDraw": 5, "UCIDigits": 3, "letters": 6}
TRAIN_LETTERS_PER_CLASS = 240


def _letters(name: str, typefaces: Sequence[Typeface], rng: np.random.Generator) -> TaskData:
    alphabet, look = SCRIPTS[name]
    parts = split_families(families_with(typefaces, "".join(alphabet)), DECORATIVE[name], rng)
    sets = {
        part: glyph_set(parts[part], alphabet, count, look, rng)
        for part, count in (
            ("train", TRAIN_LETTERS_PER_CLASS * len(alphabet)),
            ("validation", VALIDATION_IMAGES),
            ("test", TEST_IMAGES),
            ("weak", WEAK_PER_CLASS["letters"] * len(alphabet)),
        )
    }
    return TaskData(name, tuple(alphabet.values()), TEMPLATES[name], **sets)


def make_tasks(sources: Sources, seed: int) -> list[TaskData]:
    """The eight tasks, in the order they have everywhere."""

    def rng(stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, stream])

    drawings = Labelled(
        np.concatenate([sources.drawings[name] for name in DRAWINGS]),
        np.concatenate([np.full(len(sources.drawings[name]), i) for i, name in enumerate(DRAWINGS)]),
    )
    return [
        _from_pair("MNIST", DIGITS, *sources.mnist, WEAK_PER_CLASS["MNIST"], rng(1)),
        _from_pair("FashionMNIST", FASHION, *sources.fashion, WEAK_PER_CLASS["FashionMNIST"], rng(2)),
        _from_pair("CIFAR10", CIFAR, *sources.cifar, WEAK_PER_CLASS["CIFAR10"], rng(3)),
        _from_one("QuickDraw", DRAWINGS, drawings, 520, 440, WEAK_PER_CLASS["QuickDraw"], rng(4)),
        _from_one(
            "UCIDigits", DIGITS, sources.uci, TEST_IMAGES, VALIDATION_IMAGES, WEAK_PER_CLASS["UCIDigits"], rng(5)
        ),
        *(_letters(name, sources.typefaces, rng(6 + i)) for i, name in enumerate(SCRIPTS)),
    ]


# Scripts the pretraining learns to read in full, and scripts it never sees, kept for the auxiliary images.
PRETRAIN_SCRIPTS = {
    "Armenian": range(0x561, 0x587),
    "Georgian": range(0x10D0, 0x10F1),
    "Thai": range(0xE01, 0xE2F),
    "Devanagari": range(0x915, 0x93A),
    "Hiragana": range(0x3042, 0x3094, 2),
    "Ethiopic": range(0x1200, 0x12D0, 8),
}
AUXILIARY_SCRIPTS = {
    "Coptic": range(0x2C81, 0x2CB2, 2),
    "Glagolitic": range(0x2C30, 0x2C5F),
    "Cherokee": range(0x13A0, 0x13F0),
    "Tifinagh": range(0x2D30, 0x2D62),
    "Runic": range(0x16A0, 0x16EB),
    "Gothic": range(0x10330, 0x1034A),
    "Old Italic": range(0x10300, 0x1031F),
    "Tamil": range(0xB95, 0xBBA),
    "Bengali": range(0x995, 0x9BA),
    "Khmer": range(0x1780, 0x17A3),
    "Lisu": range(0xA4D0, 0xA4F8),
    "Osmanya": range(0x10480, 0x1049E),
}


def script_letters(name: str, codes: range) -> dict[str, str]:
    """Letter → its Unicode name without the script, for the assigned letters of a range."""
    found = {}
    for code in codes:
        full = unicodedata.name(chr(code), "").lower()
        if full and unicodedata.category(chr(code)).startswith("L"):
            found[chr(code)] = full.split(" letter ")[-1].removeprefix("small ").removeprefix("capital ")
    return found


# Drawings of the classes that no task has; the last quarter of each is kept for the auxiliary images.
PRETRAIN_DRAWINGS = 75
PRETRAIN_LATIN, PRETRAIN_DIGITS = 12_000, 5_000


def pretraining_sources(sources: Sources, tasks: Sequence[TaskData], seed: int) -> list[PretrainSource]:
    """All the captioned images of the pretraining: much about other things, little about the tasks."""
    rng = np.random.default_rng([seed, 100])
    by_name = {task.name: task for task in tasks}
    found = [
        PretrainSource(
            f"weak {task.name}",
            task.weak,
            task.classes,
            task.templates,
            WEAK_WEIGHTS[task.name],
            flip=task.name in ("CIFAR10", "QuickDraw"),
        )
        for task in tasks
    ]
    others = [name for name in sorted(sources.drawings) if name not in DRAWINGS]
    found.append(
        PretrainSource(
            "drawings",
            Labelled(
                np.concatenate([sources.drawings[name][:PRETRAIN_DRAWINGS] for name in others]),
                np.concatenate(
                    [np.full(len(sources.drawings[name][:PRETRAIN_DRAWINGS]), i) for i, name in enumerate(others)]
                ),
            ),
            tuple(others),
            TEMPLATES["QuickDraw"],
            0.24,
            flip=True,
        )
    )

    latin = families_with(sources.typefaces, "".join(LATIN) + "0123456789")
    chosen = pretraining_latin(latin, rng)
    found.append(
        PretrainSource(
            "latin letters",
            glyph_set(chosen, LATIN, PRETRAIN_LATIN, Look("any"), rng),
            tuple(LATIN.values()),
            ("the latin letter {}.", "{}, a letter of the latin alphabet.", "a printed latin {}."),
            0.12,
        )
    )
    numerals = dict(zip("0123456789", DIGITS, strict=True))
    found.append(
        PretrainSource(
            "printed digits",
            glyph_set(chosen, numerals, PRETRAIN_DIGITS, Look("any", tilt=15, shear=0.3), rng),
            DIGITS,
            ("the printed digit {}.", "a printed {}.", "a {} in some typeface."),
            0.05,
        )
    )
    for script, codes in PRETRAIN_SCRIPTS.items():
        alphabet = script_letters(script, codes)
        families = families_with(sources.typefaces, "".join(alphabet))
        if families:
            lower = script.lower()
            found.append(
                PretrainSource(
                    f"{lower} letters",
                    glyph_set(families, alphabet, 80 * len(alphabet), Look("any"), rng),
                    tuple(alphabet.values()),
                    (f"the {lower} letter {{}}.", f"{{}}, a letter of the {lower} alphabet."),
                    0.03,
                )
            )

    animals = np.isin(np.arange(len(CIFAR)), [2, 3, 4, 5, 6, 7]).astype(np.int64)
    photos = by_name["CIFAR10"].train
    rows = balanced(photos.labels, 12000, rng)
    found.append(
        PretrainSource(
            "coarse photographs",
            Labelled(photos.images[rows], animals[photos.labels[rows]]),
            ("vehicle", "animal"),
            ("a photo of a {}.", "a photo of some {}."),
            0.07,
            flip=True,
        )
    )
    kinds = np.array([0, 1, 0, 1, 0, 2, 0, 2, 3, 2])
    clothes = by_name["FashionMNIST"].train
    rows = balanced(clothes.labels, 3000, rng)
    found.append(
        PretrainSource(
            "coarse fashion",
            Labelled(clothes.images[rows], kinds[clothes.labels[rows]]),
            ("top", "garment", "shoe", "accessory"),
            ("a gray photo of some {}.", "a catalogue photo of some {}."),
            0.03,
        )
    )
    names = sorted(sources.emoji)[::2]  # the other half is left for the auxiliary images
    found.append(
        PretrainSource(
            "emoji",
            Labelled(np.stack([sources.emoji[name] for name in names]), np.arange(len(names))),
            tuple(names),
            ("an emoji of {}.", "a small icon of {}."),
            0.10,
            flip=True,
        )
    )
    categories = [name for name in sorted(sources.clip_art) if len(sources.clip_art[name]) >= 8]
    found.append(
        PretrainSource(
            "clip art",
            Labelled(
                np.concatenate([sources.clip_art[name][:100] for name in categories]),
                np.concatenate([np.full(len(sources.clip_art[name][:100]), i) for i, name in enumerate(categories)]),
            ),
            tuple(categories),
            ("a clip art picture of {}.", "an illustration of {}."),
            0.09,
            flip=True,
        )
    )
    return found


WEAK_WEIGHTS = {
    "MNIST": 0.006,
    "FashionMNIST": 0.01,
    "CIFAR10": 0.05,
    "QuickDraw": 0.012,
    "UCIDigits": 0.006,
    "Greek": 0.012,
    "Cyrillic": 0.012,
    "Hebrew": 0.012,
}


def pretraining_latin(
    families: Mapping[str, Sequence[Typeface]], rng: np.random.Generator
) -> dict[str, Sequence[Typeface]]:
    """Half of the Latin families; the others are left for the auxiliary images and the unseen digits."""
    names = sorted(families)
    chosen = rng.permutation(len(names))[: (len(names) + 1) // 2]
    return {names[i]: families[names[i]] for i in sorted(chosen)}
