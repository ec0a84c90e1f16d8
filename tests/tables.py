"""Tables that are hard to reconstruct better than PCA does, with known answers where there are any.

Each function takes a generator and returns training and test rows, in float64.
"""

from collections.abc import Callable, Iterator

import numpy as np

N_ROWS = 200  # for training, and for the test
NOISE = 0.05  # standard deviation, of each column of the curves and of the line

Rows = tuple[np.ndarray, np.ndarray]


def lognormal_columns(rng: np.random.RandomState) -> Rows:
    """Two normal factors in ten columns, exponentiated: the largest entries are hundreds."""
    weights = rng.normal(size=(2, 10))
    rows = rng.normal(size=(2 * N_ROWS, 2)) @ weights + 0.3 * rng.normal(size=(2 * N_ROWS, 10))
    return halves(np.exp(rows))


def t_with_2_degrees_of_freedom(rng: np.random.RandomState) -> Rows:
    """Two factors and noise, both without a variance."""
    weights = rng.normal(size=(2, 10))
    factors = rng.standard_t(2, size=(2 * N_ROWS, 2))
    return halves(factors @ weights + 0.3 * rng.standard_t(2, size=(2 * N_ROWS, 10)))


def far_training_row(rng: np.random.RandomState) -> Rows:
    """A training row 200 standard deviations from the mean, in a random direction."""
    X_train, X_test = folded_plane(rng)
    X_train[0] = 200 * direction(rng, 6) * X_train.std()
    return X_train, X_test


def far_test_row(rng: np.random.RandomState) -> Rows:
    """A test row 200 standard deviations from the mean, in a random direction."""
    X_train, X_test = folded_plane(rng)
    X_test[0] = 200 * direction(rng, 6) * X_train.std()
    return X_train, X_test


def repeated_rows(rng: np.random.RandomState) -> Rows:
    """Fifty different rows, drawn with replacement: most test rows are training rows, too."""
    X, _ = folded_plane(rng)
    return X[rng.randint(50, size=N_ROWS)], X[rng.randint(50, size=N_ROWS)]


def forty_rows(rng: np.random.RandomState) -> Rows:
    """Forty training rows, so that few are held out."""
    X_train, X_test = folded_plane(rng)
    return X_train[:40], X_test


def columns_with_most_of_the_variance(rng: np.random.RandomState) -> Rows:
    """One column of a hundred has 99 % of the variance, and nothing to do with the others."""
    parts = [folded_plane(rng) for _ in range(17)]
    X_train, X_test = (np.hstack(part)[:, :100] for part in zip(*parts, strict=True))
    others = X_train[:, 1:].var(axis=0).sum()
    for X in (X_train, X_test):
        X[:, 0] = np.sqrt(100 * others) * rng.normal(size=len(X))
    return X_train, X_test


def far_rows_on_a_line(rng: np.random.RandomState) -> Rows:
    """A line, of which a tenth of the rows are up to 100 times farther out than the others.

    A plain network follows the line, as it is linear far out. The error of PCA with one component,
    which nothing is better than, is that of the noise in the other columns; see `NOISE_ERRORS`.
    """
    position = rng.normal(size=2 * N_ROWS)
    position[rng.permutation(2 * N_ROWS)[: N_ROWS // 5]] *= rng.uniform(10, 100, size=N_ROWS // 5)
    rows = np.outer(position, direction(rng, 6))
    return halves(rows + NOISE * rng.normal(size=rows.shape))


def fewer_rows_than_columns(rng: np.random.RandomState) -> Rows:
    """Sixty training rows of 150 columns: a folded plane, turned, and noise."""
    X_train, X_test = folded_plane(rng)
    turn = rng.normal(size=(6, 150)) / 5
    return tuple(X @ turn + 0.1 * rng.normal(size=(len(X), 150)) for X in (X_train[:60], X_test))


def constant_columns(rng: np.random.RandomState) -> Rows:
    """Half of the columns are constant: zero, large or small."""
    constants = np.array([0.0, 1.0, -3.0, 1e6, 1e-6, 7.0])
    X_train, X_test = folded_plane(rng)
    return tuple(np.hstack([X, np.tile(constants, (len(X), 1))]) for X in (X_train, X_test))


def curve_in_the_plane(rng: np.random.RandomState) -> Rows:
    """A parabola and noise; one component describes it, see `NOISE_ERRORS`."""
    t = rng.uniform(-1, 1, size=2 * N_ROWS)
    return halves(np.c_[t, 2 * t**2] + NOISE * rng.normal(size=(2 * N_ROWS, 2)))


def curve_in_space(rng: np.random.RandomState) -> Rows:
    """A turn and a half of a helix, and noise; one component describes it, see `NOISE_ERRORS`."""
    t = rng.uniform(-1.5 * np.pi, 1.5 * np.pi, size=2 * N_ROWS)
    rows = np.c_[np.cos(t), np.sin(t), 0.5 * t]
    return halves(rows + NOISE * rng.normal(size=rows.shape))


def groups_of_rows(rng: np.random.RandomState) -> Rows:
    """Twenty rows of each of ten groups, `GROUPS`; test rows are of other groups.

    Groups are far from each other and their rows are near to each other, each group along a
    direction of its own.
    """
    parts = [
        4 * rng.normal(size=8)
        + np.outer(rng.normal(size=20), direction(rng, 8))
        + 0.1 * rng.normal(size=(20, 8))
        for _ in range(2 * N_ROWS // 20)
    ]
    return halves(np.concatenate(parts))


GROUPS = np.arange(N_ROWS) // 20  # of the training rows of `groups_of_rows`

TABLES: dict[str, Callable[[np.random.RandomState], Rows]] = {
    make.__name__: make
    for make in (
        lognormal_columns,
        t_with_2_degrees_of_freedom,
        far_training_row,
        far_test_row,
        repeated_rows,
        forty_rows,
        columns_with_most_of_the_variance,
        far_rows_on_a_line,
        fewer_rows_than_columns,
        constant_columns,
        curve_in_the_plane,
        curve_in_space,
        groups_of_rows,
    )
}

# Expected squared error of a row if it is replaced by the nearest point of the true curve: that of
# the noise in the directions across the curve. With one component, reconstructions of unseen rows
# have an error that is not much less, whatever the method.
NOISE_ERRORS = {
    "far_rows_on_a_line": 5 * NOISE**2,
    "curve_in_the_plane": NOISE**2,
    "curve_in_space": 2 * NOISE**2,
}


def tables(seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each table by its name: the training rows and the test rows."""
    for name, make in TABLES.items():
        yield name, *make(np.random.RandomState(seed))


def folded_plane(rng: np.random.RandomState) -> Rows:
    """Two factors and four functions of them, and noise."""
    a, b = rng.uniform(-1, 1, size=(2, 2 * N_ROWS))
    rows = np.c_[a, b, a * b, a**2, np.sin(3 * b), np.abs(a - b)]
    return halves(rows + 0.02 * rng.normal(size=rows.shape))


def direction(rng: np.random.RandomState, n_columns: int) -> np.ndarray:
    """A random vector of unit length."""
    vector = rng.normal(size=n_columns)
    return vector / np.linalg.norm(vector)


def halves(rows: np.ndarray) -> Rows:
    return rows[:N_ROWS].copy(), rows[N_ROWS:].copy()
