"""Helpers for the tests of displays: their texts and images, and the pixels of rendered figures."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

# Weights of red, green and blue in the lightness of a colour.
LIGHTNESS = [0.2126, 0.7152, 0.0722]


@pytest.fixture(autouse=True)
def close_figures():
    """Close all figures after a test; matplotlib warns of too many open figures."""
    yield
    plt.close("all")


def pixel_table(digits):
    """Six columns of the digits as a data frame."""
    return pd.DataFrame(digits[:, 18:24], columns=[f"pixel {i}" for i in range(6)])


def labels(ax):
    """The texts of a legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def image(ax):
    """The values of the first image on the axes."""
    return np.asarray(ax.images[0].get_array())


def pixels(figure, dpi=80):
    """The rendered file, as numbers from 0 to 255 of shape (height, width, 3)."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    file.seek(0)
    return np.round(255 * plt.imread(file)[..., :3]).astype(int)


def area(figure, ax, rendered):
    """The pixels of one axes within its frame."""
    box = ax.get_window_extent(figure.canvas.get_renderer())
    scale = rendered.shape[0] / figure.bbox.height
    x0, y0, x1, y1 = (round(v * scale) for v in (box.x0, box.y0, box.x1, box.y1))
    height = rendered.shape[0]
    return rendered[height - y1 + 3 : height - y0 - 3, x0 + 3 : x1 - 3]
