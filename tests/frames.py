"""Frames of pandas and polars with columns of all kinds, for tests of tables."""

import numpy as np
import pandas as pd
import polars as pl


def mixed_frame(rng, n_rows=120):
    """Numbers, integers, Booleans and categories, with missing entries."""
    t = rng.normal(size=n_rows)
    frame = pd.DataFrame(
        {
            "size": t + 0.1 * rng.normal(size=n_rows),
            "count": pd.array(rng.poisson(np.exp(t)), dtype="Int64"),
            "kind": pd.Categorical(np.where(t > 0, "large", "small"), ["large", "small", "huge"]),
            "town": rng.choice(["Rome", "Oslo", "Bonn"], size=n_rows),
            "is_new": rng.uniform(size=n_rows) < 0.3,
        },
        index=rng.permutation(n_rows) + 1000,
    )
    frame.loc[frame.index[:5], "kind"] = np.nan
    frame.loc[frame.index[3:9], "size"] = np.nan
    frame.loc[frame.index[7:11], "count"] = pd.NA
    return frame


def as_polars(frame):
    """The same columns in a polars frame, and one of each further kind."""

    def entries(name):
        return [None if pd.isna(value) else value for value in frame[name]]

    return pl.DataFrame(
        {
            "size": pl.Series(entries("size"), dtype=pl.Float32),
            "count": pl.Series(entries("count"), dtype=pl.Int16),
            "kind": pl.Series(entries("kind"), dtype=pl.Enum(["large", "small", "huge"])),
            "town": pl.Series(entries("town"), dtype=pl.Categorical),
            "is_new": pl.Series(entries("is_new"), dtype=pl.Boolean),
            "text": pl.Series(entries("town"), dtype=pl.String),
        }
    )
