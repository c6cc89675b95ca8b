"""Images beside the tasks: auxiliary sources without labels, unseen domains, and the two halves of `demo-halves`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from ri_analysis.demo.glyphs import Look, Typeface, draw, families_with
from ri_analysis.demo.sources import SIZE, Labelled, Sources
from ri_analysis.demo.tasks import (
    AUXILIARY_SCRIPTS,
    DECORATIVE,
    DIGITS,
    DRAWINGS,
    LATIN,
    PRETRAIN_DRAWINGS,
    SCRIPTS,
    TEST_IMAGES,
    TaskData,
    balanced,
    glyph_set,
    pretraining_latin,
    script_letters,
    split_families,
)

Array = np.ndarray
AUXILIARY_IMAGES = 4000


def colour(images: Array) -> Array:
    """Gray images as colour images; colour images unchanged."""
    return np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images


def _each(images: Array, change: object) -> Array:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])  # type: ignore[operator]


def _latin(sources: Sources, seed: int) -> dict[str, Sequence[Typeface]]:
    """The Latin families that the pretraining did not use."""
    families = families_with(sources.typefaces, "".join(LATIN) + "0123456789")
    used = pretraining_latin(families, np.random.default_rng([seed, 100]))
    return {name: families[name] for name in families if name not in used}


def _letters(sources: Sources, count: int, look: Look, seed: int, rng: np.random.Generator) -> Array:
    """Letters of scripts that neither the pretraining nor a task reads, and a quarter of Latin letters."""
    alphabets = {name: script_letters(name, codes) for name, codes in AUXILIARY_SCRIPTS.items()}
    choices: list[tuple[str, Mapping[str, Sequence[Typeface]]]] = []
    for alphabet in alphabets.values():
        families = families_with(sources.typefaces, "".join(alphabet))
        if alphabet and families:
            choices.append(("".join(alphabet), families))
    latin = ("".join(LATIN), _latin(sources, seed))
    images = []
    for number in range(count):
        letters, group = latin if number % 4 == 0 or not choices else choices[int(rng.integers(len(choices)))]
        names = sorted(group)
        faces = group[names[rng.integers(len(names))]]
        images.append(
            draw(faces[int(rng.integers(len(faces)))], letters[rng.integers(len(letters))], letters, look, rng)
        )
    return np.stack(images)


def _drawings(sources: Sources, count: int, rng: np.random.Generator) -> Array:
    """Drawings of the classes of no task, the quarter that the pretraining did not see."""
    held = np.concatenate(
        [images[PRETRAIN_DRAWINGS:] for name, images in sorted(sources.drawings.items()) if name not in DRAWINGS]
    )
    return held[rng.permutation(len(held))[:count]]


def _emoji(sources: Sources) -> Array:
    """The half of the emoji that the pretraining did not see."""
    names = [name for name in sorted(sources.emoji)[1::2] if not name.startswith("keycap")]  # digits belong to tasks
    pictures = np.stack([sources.emoji[name] for name in names])
    return np.concatenate([pictures, pictures[:, :, ::-1, ::-1]])  # mirrored too, with red and blue swapped


@cache
def _sample_photographs() -> list[Array]:
    from sklearn.datasets import load_sample_images

    found: list[Array] = load_sample_images().images
    return found


def _photographs(count: int, rng: np.random.Generator) -> Array:
    """Crops of the two photographs that come with scikit-learn: a palace roof and a flower."""
    photographs = _sample_photographs()
    crops = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = int(rng.integers(40, 300))
        top, left = (int(rng.integers(length - side)) for length in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + side, left : left + side])
        shade = rng.uniform(0.5, 1.3) * rng.uniform(0.8, 1.2, 3)
        pixels = np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BOX)) * shade
        crops.append(np.clip(pixels, 0, 255).astype(np.uint8))
    return np.stack(crops)


def _objects(sources: Sources, count: int, rng: np.random.Generator) -> Array:
    """Emoji and clip art, each cut out roughly by blending with another picture's colours."""
    pictures = np.concatenate([_emoji(sources), *(images[:100] for _, images in sorted(sources.clip_art.items()))])
    return pictures[rng.permutation(len(pictures))[:count]]


def _gray_objects(sources: Sources, count: int, rng: np.random.Generator) -> Array:
    """Emoji and clip art in gray on black: what stands out from the picture's corner colour stays."""
    images = []
    for picture in _objects(sources, count, rng).astype(np.float32):
        away = np.abs(picture - picture[0, 0]).max(axis=-1)
        gray = np.clip(picture @ [0.3, 0.6, 0.1] * rng.uniform(0.7, 1.2) + 25, 0, 255)
        images.append(colour(np.where(away > 24, gray, 0).astype(np.uint8)[None])[0])
    return np.stack(images)


def _pasted(sources: Sources, count: int, rng: np.random.Generator) -> Array:
    """Emoji and clip art pasted on crops of photographs."""
    pictures, grounds = _objects(sources, count, rng), _photographs(count, rng)
    away = np.abs(pictures.astype(np.int16) - pictures[:, :1, :1]).max(axis=-1, keepdims=True)
    return np.where(away > 24, pictures, grounds[: len(pictures)])


def _thick(images: Array, size: int = 3) -> Array:
    return _each(images, lambda image: image.filter(ImageFilter.MaxFilter(size)).filter(ImageFilter.GaussianBlur(0.5)))


def coarse(images: Array) -> Array:
    """Seen through 8×8 pixels, as the UCI digits were."""
    return _each(
        images, lambda image: image.resize((8, 8), Image.Resampling.BOX).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    )


def auxiliary_sources(sources: Sources, tasks: Sequence[TaskData], seed: int) -> dict[str, Array]:
    """Name → images. All but `oracle` are free of task images; `mix` is the largest."""
    rng, size = np.random.default_rng([seed, 200]), AUXILIARY_IMAGES
    light = Look("light", tilt=15, shear=0.3, noise=0)
    mix = [
        colour(_drawings(sources, size * 18 // 100, rng)),
        _thick(colour(_drawings(sources, size * 6 // 100, rng))),
        _letters(sources, size * 12 // 100, Look("dark"), seed, rng),
        _letters(sources, size * 12 // 100, Look("light"), seed, rng),
        _letters(sources, size * 12 // 100, Look("parchment"), seed, rng),
        _thick(_letters(sources, size * 6 // 100, light, seed, rng)),
        coarse(_letters(sources, size * 8 // 100, light, seed, rng)),
        _gray_objects(sources, size * 10 // 100, rng),
        _pasted(sources, size * 8 // 100, rng),
        _photographs(size * 8 // 100, rng),
    ]
    mixed = np.concatenate(mix)
    each = size // 2 // len(tasks)
    oracle = np.concatenate([colour(task.train.images[balanced(task.train.labels, each, rng)]) for task in tasks])
    order, emoji = rng.permutation(len(mixed)), _emoji(sources)
    drawings = colour(_drawings(sources, size * 3 // 8, rng))
    letters = colour(_letters(sources, size // 4, Look("any"), seed, rng))
    return {
        "mix": np.concatenate([mixed[order], drawings, letters, emoji]),
        "emoji": emoji,
        "oracle": oracle[rng.permutation(len(oracle))],
    }


def corrupt(images: Array, rng: np.random.Generator) -> Array:
    """Each colour image corrupted in one of five ways: noise, blur, low contrast, darkness or coarse pixels."""
    changed = []
    for number, image in enumerate(images):
        pixels = image.astype(np.float32)
        if number % 5 == 0:
            pixels = pixels + rng.normal(0, 28, pixels.shape)
        elif number % 5 == 1:
            pixels = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.2)), np.float32)
        elif number % 5 == 2:
            pixels = 128 + 0.4 * (pixels - 128)
        elif number % 5 == 3:
            pixels = 0.45 * pixels
        else:
            small = Image.fromarray(image).resize((13, 13), Image.Resampling.BOX)
            pixels = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.NEAREST), np.float32)
        changed.append(np.clip(pixels, 0, 255).astype(np.uint8))
    return np.stack(changed)


def unseen_domains(
    sources: Sources, tasks: Sequence[TaskData], seed: int
) -> dict[str, tuple[tuple[str, ...], Labelled]]:
    """Name → (tasks it belongs to, images): each task in a domain that no expert saw."""
    rng, count = np.random.default_rng([seed, 300]), TEST_IMAGES
    found: dict[str, tuple[tuple[str, ...], Labelled]] = {}
    names = {task.name: task for task in tasks}
    if "MNIST" in names:
        numerals = dict(zip("0123456789", DIGITS, strict=True))
        found["typeface-digits"] = (
            ("MNIST",),
            glyph_set(_latin(sources, seed), numerals, count, Look("light", noise=0), rng),
        )
    if "CIFAR10" in names:
        # The shipped test images are taken from the same file: leave those out.
        shipped = {image.tobytes() for image in names["CIFAR10"].test.images}
        test = sources.cifar[1]
        fresh = test.take(np.array([i for i, image in enumerate(test.images) if image.tobytes() not in shipped]))
        fresh = fresh.take(balanced(fresh.labels, count, rng))
        found["corrupted-cifar"] = (("CIFAR10",), Labelled(corrupt(fresh.images, rng), fresh.labels))
    for name, title in (("Greek", "unseen-typefaces"), ("Hebrew", "unseen-hebrew-typefaces")):
        if name in names:
            alphabet, look = SCRIPTS[name]
            families = split_families(
                families_with(sources.typefaces, "".join(alphabet)), DECORATIVE[name], np.random.default_rng(seed)
            )["unseen"]
            found[title] = ((name,), glyph_set(families, alphabet, count, look, rng))
    return found


def halves(task: TaskData, names: tuple[str, str]) -> list[TaskData]:
    """The task's classes in two disjoint halves, as two tasks of the same domain."""
    middle = len(task.classes) // 2
    parts = []
    for name, low, high in ((names[0], 0, middle), (names[1], middle, len(task.classes))):

        def part(data: Labelled, low: int = low, high: int = high) -> Labelled:
            chosen = data.take(np.flatnonzero((data.labels >= low) & (data.labels < high)))
            return Labelled(chosen.images, chosen.labels - low)

        parts.append(
            TaskData(
                name,
                task.classes[low:high],
                task.templates,
                part(task.train),
                part(task.validation),
                part(task.test),
                part(task.weak),
            )
        )
    return parts


def redrawn(test: Labelled, seed: int) -> dict[str, Labelled]:
    """The same drawings in domains that no expert saw: on paper, in thick strokes, turned, in colour, faint."""
    rng = np.random.default_rng([seed, 400])
    images = test.images
    paper = 235 - (images * 0.75).astype(np.uint8) + rng.integers(-12, 13, images.shape)
    turned = np.stack(
        [
            np.asarray(
                Image.fromarray(image).rotate(
                    float(rng.choice([-1, 1]) * rng.uniform(20, 35)), Image.Resampling.BILINEAR
                )
            )
            for image in images
        ]
    )
    ground = (_photographs(len(images), rng) * 0.45).astype(np.float32)
    pens = rng.uniform(120, 255, (len(images), 1, 1, 3))
    ink = images[..., None].astype(np.float32) / 255
    coloured = ground + (pens - ground) * ink
    faint = images * rng.uniform(0.25, 0.5, (len(images), 1, 1)) + rng.normal(0, 14, images.shape)
    versions = {"paper": paper, "thick": _thick(images), "turned": turned, "coloured": coloured, "faint": faint}
    return {
        name: Labelled(np.clip(version, 0, 255).astype(np.uint8), test.labels) for name, version in versions.items()
    }
