"""Tables of numbers and categories for the benchmark of imputation, and its imputers.

Titanic and adult have categories. In the other tables every second column is replaced by its
quartile, as a category. Each imputer returns filled numbers and probabilities of categories.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from data_sets import folder, load
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderImputer

MAX_ROWS = 500
GAPS = {"mcar10": 0.1, "mcar20": 0.2, "mcar50": 0.5, "mar20": 0.2, "mnar20": 0.2}
SETS = (
    "adult", "titanic", "iris", "wine", "wine_quality", "california_housing", "29_Pima",
    "4_breastw", "14_glass", "2_annthyroid", "6_cardio", "43_WDBC",
)  # fmt: skip
# The smallest probability, of an imputer that is none of probabilities.
SMALLEST = 0.01
# A fit takes minutes, so that the other cases are not measured.
SLOW, GAPS_OF_SLOW = "miceforest", "mcar10"


class Filled(NamedTuple):
    """A table with imputed numbers, and the probabilities of its categories."""

    numbers: np.ndarray  # (n, n_numbers)
    probabilities: list[np.ndarray]  # of (n, n_categories)


def mixed_table(name: str) -> pd.DataFrame:
    """A table of at most twice `MAX_ROWS` shuffled rows."""
    if name == "adult":
        with np.load(folder() / "adult.npz") as arrays:
            numbers, codes = arrays["X_num_train"], arrays["X_cat_train"]
    elif name == "titanic":
        X = load("titanic")
        numbers, codes = X[:, 2:6], np.nan_to_num(X[:, [0, 1, 6]], nan=-1)
    else:
        X = load(name)
        X = X[:, X.std(axis=0) > 0]
        numbers = X[:, ::2]
        codes = np.stack([quartiles(column) for column in X[:, 1::2].T], axis=1)
    order = np.random.RandomState(0).permutation(len(numbers))[: 2 * MAX_ROWS]
    table = pd.DataFrame(numbers[order].astype(float)).add_prefix("number ")
    for j, column in enumerate(codes[order].T.astype(int)):
        entries = np.array([f"category {code}" for code in column], dtype=object)
        entries[column < 0] = None
        table[f"category {j}"] = pd.Categorical(entries)
    return table


def quartiles(column: np.ndarray) -> np.ndarray:
    """The quartile of each value; fewer different numbers if values are repeated."""
    return np.searchsorted(np.unique(np.quantile(column, [0.25, 0.5, 0.75])), column)


def hidden_entries(table: pd.DataFrame, kind: str, rng: np.random.RandomState) -> np.ndarray:
    """The mask of the entries to remove, which are observed ones."""
    ranks = np.stack([ranks_of(table[name]) for name in table], axis=1)
    rate = np.full(ranks.shape, GAPS[kind])
    if not kind.startswith("mcar"):
        n_columns = ranks.shape[1]
        cause = np.arange(n_columns)
        if kind == "mar20":  # each column depends on another one
            cause = (cause + rng.randint(1, n_columns, size=n_columns)) % n_columns
        sign = rng.choice([-1, 1], size=n_columns)
        strength = 1 / (1 + np.exp(-4 * sign * (ranks[:, cause] - 0.5)))
        rate = rate * strength / strength.mean(axis=0)
    return (rng.uniform(size=ranks.shape) < rate) & ~table.isna().to_numpy()


def ranks_of(column: pd.Series) -> np.ndarray:
    """Ranks between 0 and 1, of categories by their order."""
    values = column.cat.codes if isinstance(column.dtype, pd.CategoricalDtype) else column
    return values.rank(pct=True).fillna(0.5).to_numpy()


def categorical(table: pd.DataFrame) -> list[str]:
    return [name for name in table if isinstance(table[name].dtype, pd.CategoricalDtype)]


class OneHot:
    """An imputer of numbers, for standardised numbers and indicators of categories."""

    def __init__(self, imputer):
        self.imputer = imputer

    def fit(self, table: pd.DataFrame) -> "OneHot":
        """Fit to an incomplete table."""
        self.names = categorical(table)
        self.numbers = [name for name in table if name not in self.names]
        self.categories = [sorted(table[name].dropna().unique()) for name in self.names]
        self.scaler = StandardScaler().fit(table[self.numbers])
        self.imputer.fit(self.encode(table))
        return self

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        """Standardised numbers and indicators, which are NaN where missing."""
        parts = [self.scaler.transform(table[self.numbers])]
        for name, categories in zip(self.names, self.categories, strict=True):
            block = (table[name].astype(object).to_numpy()[:, None] == categories).astype(float)
            block[block.sum(axis=1) == 0] = np.nan
            parts.append(block)
        return np.hstack(parts)

    def fill(self, table: pd.DataFrame) -> Filled:
        """Impute a table."""
        filled = self.imputer.transform(self.encode(table))
        ends = np.cumsum([len(self.numbers), *map(len, self.categories)])
        numbers, *blocks = np.split(filled, ends[:-1], axis=1)
        blocks = [np.clip(block, SMALLEST, None) for block in blocks]
        probabilities = [block / block.sum(axis=1, keepdims=True) for block in blocks]
        return Filled(self.scaler.inverse_transform(numbers), probabilities)


class Ours:
    """`AutoencoderImputer` with its defaults."""

    def fit(self, table: pd.DataFrame) -> "Ours":
        """Fit to an incomplete table."""
        self.imputer = AutoencoderImputer(random_state=0).fit(table)
        self.categories = [list(categories) for categories in self.imputer.categories_]
        return self

    def fill(self, table: pd.DataFrame) -> Filled:
        """Impute a table."""
        numbers = [name for name in table if name not in categorical(table)]
        filled = self.imputer.transform(table)[numbers].to_numpy()
        return Filled(filled, self.imputer.predict_proba(table))


class Boosting:
    """Gradient boosting of each column on all others, which may have missing values."""

    def fit(self, table: pd.DataFrame) -> "Boosting":
        """Fit to an incomplete table."""
        names = categorical(table)
        self.categories = [sorted(table[name].dropna().unique()) for name in names]
        self.models = []
        for name in table:
            model = (
                HistGradientBoostingClassifier if name in names else HistGradientBoostingRegressor
            )
            rows = table[name].notna()
            target = table.loc[rows, name]
            target = target.astype(object) if name in names else target
            inputs = table.loc[rows].drop(columns=name)
            self.models.append(model(random_state=0).fit(inputs, target))
        return self

    def fill(self, table: pd.DataFrame) -> Filled:
        """Impute a table."""
        names, numbers, probabilities = categorical(table), [], []
        for name, model in zip(table, self.models, strict=True):
            inputs = table.drop(columns=name)
            if name in names:
                shares = np.clip(model.predict_proba(inputs), 1e-6, None)
                probabilities.append(shares / shares.sum(axis=1, keepdims=True))
            else:
                numbers.append(model.predict(inputs))
        return Filled(np.stack(numbers, axis=1), probabilities)


class ChainedBoosting:
    """Multiple imputation by miceforest: the mean of ten imputations, and the shares in them.

    A share has one imputation more, of all categories alike, so that none is zero.
    """

    n_imputations, n_iterations = 10, 5

    def fit(self, table: pd.DataFrame) -> "ChainedBoosting":
        """Fit to an incomplete table."""
        from miceforest import ImputationKernel

        names = categorical(table)
        self.categories = [sorted(table[name].dropna().unique()) for name in names]
        self.kernel = ImputationKernel(
            self.known(table),
            num_datasets=self.n_imputations,
            # "normal", the default, fails where a category has the probability 1.
            mean_match_strategy={name: "fast" if name in names else "normal" for name in table},
            save_all_iterations_data=True,
            random_state=0,
        )
        self.kernel.mice(self.n_iterations, num_threads=1)
        return self

    def known(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with the categories of `fit`; others are missing."""
        of_column = dict(zip(categorical(table), self.categories, strict=True))
        types = {name: pd.CategoricalDtype(known) for name, known in of_column.items()}
        return table.reset_index(drop=True).astype(types)

    def fill(self, table: pd.DataFrame) -> Filled:
        """Impute a table."""
        names = categorical(table)
        known, last = self.known(table), self.n_iterations
        imputed = self.kernel.impute_new_data(known, iterations=last, save_all_iterations_data=True)
        tables = [imputed.complete_data(i, iteration=last) for i in range(self.n_imputations)]
        numbers = np.mean([t.drop(columns=names).to_numpy(dtype=float) for t in tables], axis=0)
        probabilities = []
        for name, categories in zip(names, self.categories, strict=True):
            values = np.stack([t[name].astype(object).to_numpy() for t in tables])
            counts = (values[:, :, None] == categories).sum(axis=0) + 1 / len(categories)
            probabilities.append(counts / (self.n_imputations + 1))
        return Filled(numbers, probabilities)


OURS = "AutoencoderImputer"
IMPUTERS = {
    "most frequent": lambda: OneHot(SimpleImputer()),
    "kNN": lambda: OneHot(KNNImputer(n_neighbors=5)),
    "IterativeImputer": lambda: OneHot(IterativeImputer(random_state=0)),
    "boosting": Boosting,
    SLOW: ChainedBoosting,
    OURS: Ours,
}


def measure(name: str, kind: str, label: str) -> dict[str, float]:
    """Mean error rate, log loss and relative error of the removed entries of new rows."""
    table = mixed_table(name)
    hidden = hidden_entries(table, kind, np.random.RandomState(1))
    n = len(table) // 2
    gaps, truth, hidden = table.mask(hidden), table.iloc[n:], hidden[n:]
    imputer = IMPUTERS[label]().fit(gaps.iloc[:n])
    filled = imputer.fill(gaps.iloc[n:])
    scores: dict[str, list[float]] = {"wrong": [], "log loss": [], "rmse": []}
    names = categorical(table)
    blocks = zip(names, imputer.categories, filled.probabilities, strict=True)
    for column, categories, probabilities in blocks:
        rows = np.flatnonzero(hidden[:, table.columns.get_loc(column)])
        entries = truth[column].astype(object).to_numpy()[rows]
        known = np.isin(entries, categories)
        position = [list(categories).index(entry) for entry in entries[known]]
        chosen = probabilities[rows[known]]
        if known.any():
            scores["log loss"].append(-np.log(chosen[np.arange(len(chosen)), position]).mean())
            scores["wrong"].append((chosen.argmax(axis=1) != position).mean())
    numbers = [column for column in table if column not in names]
    for column, values in zip(numbers, filled.numbers.T, strict=True):
        rows = hidden[:, table.columns.get_loc(column)]
        error = values[rows] - truth[column].to_numpy()[rows]
        if rows.any():
            scores["rmse"].append(np.sqrt(np.mean(error**2)) / table[column].std())
    return {name: float(np.mean(values)) for name, values in scores.items()}
