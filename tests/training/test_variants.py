from __future__ import annotations

from pathlib import Path

import numpy as np

from ri_analysis.suite import open_suite
from ri_analysis.suite.images import in_memory
from ri_analysis.training.variants import Variants, vary


def test_the_first_view_is_the_image_and_the_others_are_not(tiny: Path) -> None:
    images = open_suite(str(tiny)).auxiliary_data("other")
    variants = Variants(images, 3, seed=5)
    assert len(variants) == 3 * len(images)
    assert np.array_equal(variants.pixels([0, 7], 8), images.pixels([0, 7], 8))
    later = variants.pixels([len(images) + 7, 2 * len(images) + 7], 8)
    assert not np.array_equal(later[0], later[1])
    assert not np.array_equal(later[0], images.pixels([7], 8)[0])


def test_a_variant_depends_on_the_seed_and_its_own_index_alone(tiny: Path) -> None:
    images = open_suite(str(tiny)).auxiliary_data("other")
    variants = Variants(images, 4, seed=5)
    everything = variants.pixels(range(len(variants)), 8)
    assert np.array_equal(variants.pixels([150, 3], 8), everything[[150, 3]])
    assert not np.array_equal(Variants(images, 4, seed=6).pixels([150], 8), everything[[150]])
    assert np.array_equal(in_memory(variants, 8).pixels(range(160), 8), everything)


def test_a_variant_stays_an_image_of_the_same_thing() -> None:
    """A bright square on a dark ground keeps about its size and the ground's and its own brightness."""
    image = np.full((1, 32, 32, 3), 40, np.uint8)
    image[:, 10:22, 10:22] = 200
    for seed in range(20):
        varied = vary(image, [[seed, 0]])[0].astype(float).mean(axis=2)
        assert np.median(varied) < 85  # the ground, at most lit by 25 and flattened by a fifth
        assert 0.5 < (varied > 115).sum() / 144 < 1.8
