"""Error of classifiers on test rows when most training rows have no label.

    python benchmarks/few_labels.py [--sets mnist digits ...] [--draws N] [--ours] [--quick]

The labelled rows are drawn at random, the same number from each class; all other training rows have
no label. `AutoencoderClassifier` has its defaults for all sets; all draws of a set share one
pre-trained autoencoder in a `FrozenEstimator`. With `--ours`, only `AutoencoderClassifier` is
fitted: the stored errors of scikit-learn's classifiers do not depend on the version of skae. Writes
`benchmarks/results/few_labels.json` after each fit and `docs/few_labels.md` at the end; `--page`
only writes the page.
"""

import warnings
from typing import Any

import numpy as np
from _timing import Results, Timer, figure, markdown_table, page_parser, versions_sentence
from data_sets import ROOT, folder, images
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from skae import AutoencoderClassifier, DenoisingAutoencoder

PAGE = ROOT / "docs" / "few_labels.md"
# MNIST, features of a VAE and a transductive SVM.
PUBLISHED = {100: 11.8, 600: 5.7, 1000: 4.2, 3000: 3.5}
# Numbers of labels, and number of draws. Two and ten labels a class for the smaller sets.
CASES: dict[str, tuple[tuple[int, ...], int]] = {
    "mnist": (tuple(PUBLISHED), 5),
    "digits": ((20, 100), 5),
    "isolet5": ((52, 260), 5),
    "pbmc3k": ((18, 90), 5),
    "fashion_mnist": ((100, 1000), 3),
}
N_COMPONENTS = 64
OURS, MLP = "AutoencoderClassifier", "MLPClassifier"
# Rows, the labelled ones included, for methods whose cost is at least quadratic in them.
SPREADING_ROWS, SELF_TRAINING_ROWS = 20_000, 10_000

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load(name: str, quick: bool) -> Data:
    """Training rows, test rows, and the labels of both as integers from zero."""
    if name in ("mnist", "fashion_mnist"):
        X_train, X_test = images(name)
        with np.load(folder() / f"{name}.npz", allow_pickle=False) as arrays:
            y_train, y_test = (arrays[part].astype(int) for part in ("y_train", "y_test"))
        n = 1500 if quick else len(X_train)
        return X_train[:n], X_test, y_train[:n], y_test
    if name == "digits":
        X, y = load_digits(return_X_y=True)
    else:
        X, y = _from_file(name)
    y = np.unique(y, return_inverse=True)[1]
    X_train, X_test, y_train, y_test = train_test_split(
        X.astype(np.float32), y, stratify=y, random_state=0
    )
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test), y_train, y_test


def _from_file(name: str) -> tuple[np.ndarray, np.ndarray]:

    with np.load(folder() / f"{name}.npz", allow_pickle=False) as arrays:
        if "X" in arrays:
            return arrays["X"], arrays["y"]
        parts = arrays["data"], arrays["indices"].astype(np.int32), arrays["indptr"]
        return csr_array(parts, shape=tuple(arrays["shape"])).toarray(), arrays["y"]


def with_few_labels(y: np.ndarray, n_labels: int, seed: int) -> np.ndarray:
    """Replace all labels but `n_labels` by -1, with the same number left in each class."""
    rng = np.random.RandomState(seed)
    each = n_labels // (y.max() + 1)
    few = np.full(len(y), -1)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))[:each]
        few[rows] = label
    return few


def logistic_regression(X, codes, few) -> Any:
    known = few >= 0
    search = GridSearchCV(LogisticRegression(max_iter=200), {"C": (0.01, 0.1, 1.0)}, cv=2)
    return search.fit(X[known], few[known])


def pca_and_svc(X, codes, few) -> Any:
    known = few >= 0
    return GridSearchCV(SVC(), {"C": (1, 10, 100)}, cv=2).fit(codes[known], few[known])


def self_training(X, codes, few) -> Any:
    rows = some_rows(few, SELF_TRAINING_ROWS)
    base = LogisticRegression(max_iter=200)
    return SelfTrainingClassifier(base).fit(codes[rows], few[rows])


def label_spreading(alpha: float) -> Any:
    def fit(X, codes, few) -> Any:
        rows = some_rows(few, SPREADING_ROWS)
        spreading = LabelSpreading(kernel="knn", n_neighbors=10, alpha=alpha, max_iter=100)
        return spreading.fit(codes[rows], few[rows])

    return fit


# Functions of the rows, their principal components and the labels; the first one uses the rows.
PEERS = {
    "logistic regression": logistic_regression,
    "PCA + SVC": pca_and_svc,
    "PCA + SelfTraining": self_training,
    "PCA + LabelSpreading(0.2)": label_spreading(0.2),
    "PCA + LabelSpreading(0.9)": label_spreading(0.9),
}


def some_rows(few: np.ndarray, n_rows: int) -> np.ndarray:
    """All labelled rows, and others up to `n_rows`."""
    others = np.random.RandomState(0).permutation(np.flatnonzero(few < 0))
    known = np.flatnonzero(few >= 0)
    return np.r_[known, others[: max(n_rows - len(known), 0)]]


def run_set(name: str, results: Results, n_draws: int, ours_only: bool, quick: bool) -> None:
    """Run all methods, or `AutoencoderClassifier` alone, on one set."""
    X, X_test, y, y_test = load(name, quick)
    size = min(N_COMPONENTS, *X.shape)
    pretrained = DenoisingAutoencoder(
        size, corruption_level=0.5, max_iter=1 if quick else None, random_state=0
    )
    with Timer() as timer:
        pretrained.fit(X)
    results.save(f"{name}/pretraining", seconds=timer.processor, shape=X.shape)
    pca = PCA(size, random_state=0).fit(X)
    codes, codes_test = pca.transform(X), pca.transform(X_test)

    def measure(key: str, fit, test: np.ndarray) -> None:
        with Timer() as timer:
            fitted = fit()
        error = 100 * (1 - fitted.score(test, y_test))
        results.save(f"{name}/{key}", error=error, seconds=timer.processor)

    def ours(labels: np.ndarray, seed: int) -> AutoencoderClassifier:
        return AutoencoderClassifier(
            FrozenEstimator(pretrained), max_iter=1 if quick else None, random_state=seed
        ).fit(X, labels)

    for draw in range(1 if quick else n_draws):
        for n_labels in CASES[name][0]:
            few = with_few_labels(y, n_labels, draw)
            measure(f"{n_labels}/{draw}/{OURS}", lambda few=few, draw=draw: ours(few, draw), X_test)
            for title, peer in () if ours_only else PEERS.items():
                test = X_test if title == "logistic regression" else codes_test
                measure(
                    f"{n_labels}/{draw}/{title}",
                    lambda peer=peer, few=few: peer(X, codes, few),
                    test,
                )
    measure(f"{len(y)}/0/{OURS}", lambda: ours(y, 0), X_test)
    shape = (*pretrained.hidden_layer_sizes, size)
    for stopping in () if ours_only else (False, True):
        mlp = MLPClassifier(
            shape, early_stopping=stopping, max_iter=1 if quick else 40, random_state=0
        )
        measure(f"{len(y)}/0/{MLP}({stopping})", lambda mlp=mlp: mlp.fit(X, y), X_test)


def summary(records: dict, name: str) -> dict[int, dict[str, np.ndarray]]:
    """Errors by number of labels and method, an entry for each draw."""
    errors: dict[int, dict[str, list[float]]] = {}
    for key, record in records.items():
        if key.startswith(f"{name}/") and "error" in record:
            _, n_labels, _, method = key.split("/")
            errors.setdefault(int(n_labels), {}).setdefault(method, []).append(record["error"])
    return {
        n: {method: np.array(e) for method, e in methods.items()} for n, methods in errors.items()
    }


HEAD = f"""# Classification with few labels

This page compares `AutoencoderClassifier` with classifiers of scikit-learn on data in which most
training rows have no label. The tables have the error on test rows in percent. The labelled rows
are drawn several times, with the same number of each class: the first figure is the mean over these
draws, and the figure in brackets is the largest error.

- `AutoencoderClassifier` has default parameters. It is fitted to all rows.
- Logistic regression is fitted to the labelled rows.
- SVC is fitted to the labelled rows.
- Self-training is `SelfTrainingClassifier` of logistic regression, fitted to at most
  {SELF_TRAINING_ROWS:,} rows.
- `LabelSpreading` has 10 neighbours, and `alpha` is in brackets. It is fitted to at most
  {SPREADING_ROWS:,} rows.

SVC, self-training and `LabelSpreading` use the first {N_COMPONENTS} principal components of all
training rows instead of the columns. The parameter `C` of logistic regression and SVC is chosen by
cross-validation on the labelled rows. For MNIST, the last row of the table has the published errors
of a VAE with a transductive SVM.

The pixels of MNIST are in [0, 1]; the columns of other data sets are standardised. A quarter of the
rows of these sets is the test set. Times are processor times with one thread.

    python benchmarks/few_labels.py
"""


def page(records: dict) -> list[str]:
    """The figures as lines of the page."""
    lines = [*HEAD.splitlines(), ""]
    for name in CASES:
        if f"{name}/pretraining" not in records:
            continue
        errors = summary(records, name)
        n_rows, n_columns = records[f"{name}/pretraining"]["shape"]
        counts = [n for n in sorted(errors) if n != n_rows]
        lines += [f"## {name} ({n_rows:,} training rows, {n_columns} columns)", ""]
        header = ("labels", *(str(n) for n in counts))
        rows: list[tuple] = []
        for method in (OURS, *PEERS):
            cells = [errors[n].get(method) for n in counts]
            rows.append(
                (method, *("" if e is None else f"{e.mean():.2f} ({e.max():.2f})" for e in cells))
            )
        rows.append(("draws", *(str(len(errors[n][OURS])) for n in counts)))
        if name == "mnist":
            rows.append(("published: VAE + TSVM", *(str(PUBLISHED.get(n, "")) for n in counts)))
        lines += [*markdown_table(header, rows), "", lowest(errors, counts), ""]
        if n_rows in errors:
            rows = [
                (method.replace("(", "(early_stopping="), f"{e.mean():.2f}")
                for method, e in errors[n_rows].items()
            ]
            lines += ["If all training rows have labels, the errors are:", ""]
            lines += [*markdown_table(("classifier", "error"), rows), ""]
        ours = [r for key, r in records.items() if key.startswith(f"{name}/") and OURS in key]
        share = np.median([r["seconds"] for r in ours]) / records[f"{name}/pretraining"]["seconds"]
        lines += [
            "With a fitted autoencoder as `estimator`, the fit of `AutoencoderClassifier` takes "
            f"{figure(float(share))} times",
            "as long as the fit of this autoencoder (median).",
            "",
            versions_sentence(ours),
            "",
        ]
    return lines


def lowest(errors: dict[int, dict[str, np.ndarray]], counts: list[int]) -> str:
    """The numbers of labels for which `AutoencoderClassifier` has the lowest mean error."""
    means = {n: {method: e.mean() for method, e in errors[n].items()} for n in counts}
    n_lowest = sum(means[n][OURS] == min(means[n].values()) for n in counts)
    share = "all" if n_lowest == len(counts) else f"{n_lowest} of the {len(counts)}"
    return f"`{OURS}` has the lowest mean error of these classifiers for {share} numbers of labels."


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--sets", nargs="+", default=list(CASES), choices=list(CASES))
    options.add_argument("--draws", type=int, help="number of draws of the labelled rows")
    options.add_argument("--ours", action="store_true", help="only fit AutoencoderClassifier")
    arguments = options.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("few_labels", quick=arguments.quick)
    for name in [] if arguments.page else arguments.sets:
        n_draws = arguments.draws or CASES[name][1]
        run_set(name, results, n_draws, arguments.ours, arguments.quick)
    if not arguments.quick:
        PAGE.write_text("\n".join(page(results.records)).rstrip() + "\n")


if __name__ == "__main__":
    main()
