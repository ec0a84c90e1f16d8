"""The order of the examples in the gallery; sphinx-gallery calls `example_position`."""

from pathlib import Path

# From simple to special. A new example must be added here: the build fails without it.
EXAMPLES = [
    "pca_vs_autoencoder",
    "displays",
    "biplot",
    "table_with_categories",
    "compression",
    "retrieval",
    "tsne_of_codes",
    "map",
    "clustering",
    "denoised_digits",
    "reconstruction",
    "contractive_codes",
    "dictionary",
    "sampled_digits",
    "outliers",
    "time_series",
    "imputation",
    "supervised_codes",
    "few_labels",
    "production",
]


def example_position(filename: str) -> int:
    """Position of an example in the gallery."""
    return EXAMPLES.index(Path(filename).stem.removeprefix("plot_"))
