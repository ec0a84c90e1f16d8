"""What a map of codes consists of."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import close_figures  # noqa: F401

from skae._inspection.map_elements import (
    IMAGE_SHARE,
    N_IMAGES,
    centers_of_groups,
    draw_density,
    draw_images,
    separate_rows,
)


@pytest.fixture
def positions(global_random_seed):
    return np.random.RandomState(global_random_seed).normal(size=(500, 2))


def test_a_density_has_the_mean_colour_and_is_more_opaque_with_more_points(positions):
    red, blue = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    corners = np.repeat([[-9.0, -9.0], [9.0, 9.0]], [30, 2], axis=0)
    colours = np.array([red] * 30 + [red, blue])
    ax = plt.figure().add_subplot()
    image = draw_density(ax, corners, colours).get_array()
    np.testing.assert_allclose(image[0, 0, :3], red)
    np.testing.assert_allclose(image[-1, -1, :3], [0.5, 0, 0.5])
    assert image[0, 0, 3] == 1 > image[-1, -1, 3] > 0
    assert (image[..., 3] > 0).sum() == 2


def test_equal_points_have_a_density():
    image = draw_density(plt.figure().add_subplot(), np.ones((5, 2)), np.zeros((5, 3)))
    assert (np.asarray(image.get_array())[..., 3] > 0).sum() == 1


@pytest.mark.parametrize("n_other", [20, 200, 500])
def test_a_label_is_at_each_large_group_of_a_class(positions, n_other):
    parts = np.concatenate([positions, positions[:n_other] + 20])
    centers = centers_of_groups(parts, (parts.min(0), parts.max(0)))
    expected = [(0, 0), (20, 20)] if n_other > 100 else [(0, 0)]
    np.testing.assert_allclose(np.sort(centers, axis=0), expected, atol=1.5)


@pytest.mark.parametrize("shape", ["normal", "uniform", "line"])
@pytest.mark.parametrize("n_rows", [1, 3, 40, 2000])
def test_a_single_group_has_one_label(shape, n_rows, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    rows = getattr(rng, "normal" if shape == "normal" else "uniform")(size=(n_rows, 2))
    if shape == "line":
        rows[:, 1] = rows[:, 0]
    limits = rows.min(0) - 0.5, rows.max(0) + 0.5
    assert len(centers_of_groups(rows, limits)) == 1


def test_chosen_rows_do_not_overlap_and_each_empty_place_has_one(positions):
    chosen = positions[separate_rows(positions)]
    size = (positions.max(0) - positions.min(0)) / N_IMAGES
    distances = (abs(chosen[:, None] - chosen) / size).max(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() >= IMAGE_SHARE
    to_chosen = (abs(positions[:, None] - chosen) / size).max(axis=2).min(axis=1)
    assert to_chosen.max() < 2.1


@pytest.mark.parametrize("shape", [(4, 3), (1, 4, 3), (3, 4, 3)])
def test_images_of_one_or_three_channels(positions, shape):
    rows = np.arange(500 * np.prod(shape), dtype=float).reshape(500, -1)
    boxes = draw_images(plt.figure().add_subplot(), positions, rows, shape)
    expected = (4, 3, 3) if shape[0] == 3 else (4, 3)
    assert {box.offsetbox.get_data().shape for box in boxes} == {expected}
