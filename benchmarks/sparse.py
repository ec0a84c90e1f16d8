"""What sparse codes are good for: restoring much by few active units, and as features.

    python benchmarks/sparse.py [--part curve|classifier] [--arms NAME ...] [--sets NAME ...]
                                [--kinds NAME ...] [--rows N] [--quick]

*curve*: share of the variance of 1000 unseen Fashion-MNIST images that 16, 32 and 64 active units
of 1024 explain: "topk", "batch_topk", and "topk" that searches on from the encoder's choice in
three steps. Beside them: an autoencoder with an l1 penalty, its price sought for the same activity;
`MiniBatchDictionaryLearning`, whose codes are searched by orthogonal matching pursuit; PCA.

*classifier*: accuracy of a linear support vector machine on the codes of 2000 units; its C is
chosen on training rows. MNIST: 10,000 test images. Digits: mean of five shuffled folds. All kinds
of sparsity with one configuration each for both sets; those of "lifetime" were chosen with a look
at MNIST's test images, the step size of "lifetime, windows" with one at the digits. Its units see
windows of the images.

`--rows` takes that many training images instead of all. Prints a line a case, writes
`benchmarks/results/sparse.json` and `docs/sparse.md`.
"""

import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from _timing import Results, markdown_table, parser, seconds
from data_sets import ROOT, folder, images
from sklearn.datasets import fetch_openml, load_digits
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning, sparse_encode
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import LinearSVC

from skae import SparseAutoencoder

PAGE = ROOT / "docs" / "sparse.md"
ACTIVE = (16, 32, 64)
N_UNITS = 1024
N_TEST = 1000
SETS = {"digits": (8, 8), "mnist": (28, 28)}
FEATURE_UNITS = 2000
LIFETIME = {"sparsity": "lifetime", "n_nonzero_coefs": 200, "with_mean": False}
# One configuration of each kind for all data.
FEATURES = {
    "l1": {"sparsity": "l1", "penalty": 0.1},
    "kl": {"sparsity": "kl", "n_nonzero_coefs": 100},
    "jumprelu": {"sparsity": "jumprelu", "penalty": 0.1},
    "topk": {"sparsity": "topk", "n_nonzero_coefs": 100},
    "batch_topk": {"sparsity": "batch_topk", "n_nonzero_coefs": 100},
    # With a look at MNIST's test images, by codes of 10,000 training images.
    "lifetime": LIFETIME | {"learning_rate_init": 0.0003},
    "lifetime, windows": LIFETIME | {"learning_rate_init": 0.001, "receptive_field": 0.4},
}
C = [0.1, 1.0, 10.0, 100.0]


def explained(X: np.ndarray, restored: np.ndarray, mean: np.ndarray) -> float:
    """Share of the variance about the mean of the training rows."""
    return float(1 - ((X - restored) ** 2).sum() / ((X - mean) ** 2).sum())


def autoencoder_case(X_train, X, quick: bool, **parameters) -> dict:
    """One sparse autoencoder: its variance explained, activity, dead units and seconds."""
    coder = SparseAutoencoder(N_UNITS, random_state=0, max_iter=1 if quick else None, **parameters)
    spent = seconds(coder.fit, X_train)
    return {
        "explained": explained(X, coder.reconstruct(X), X_train.mean(axis=0)),
        "active": float((coder.transform(X) > 0).sum(axis=1).mean()),
        "dead": len(coder.dead_components_),
        "seconds": spent,
    }


def autoencoder_cases(X_train, X, quick: bool, **parameters) -> Iterator[dict]:
    """For each number of active units that is asked for."""
    for n_active in ACTIVE:
        yield autoencoder_case(X_train, X, quick, n_nonzero_coefs=n_active, **parameters)


def l1_cases(X_train, X, quick: bool) -> Iterator[dict]:
    """Autoencoders with an l1 penalty, each as active as asked, to 5 %, or as near as was found."""
    tried: list[dict] = []
    for wanted in ACTIVE:
        for _ in range(1 if quick else 7):
            penalty = price(tried, 1.02 * wanted)
            case = autoencoder_case(X_train, X, quick, sparsity="l1", penalty=penalty)
            tried.append(case | {"penalty": penalty})
            print(f"l1 penalty={penalty:.4g} {case}", flush=True)
            if wanted <= case["active"] < 1.05 * wanted:
                break
        yield min(tried, key=lambda case: abs(np.log(max(case["active"], 1e-3) / wanted)))


def price(tried: list[dict], wanted: float) -> float:
    """The penalty to try next, on the line between the nearest trials in logarithms of both.

    Activity ends in a cliff; so that a trial beyond it says little, 4 times too little is enough.
    """
    penalties = [case["penalty"] for case in tried]
    active = [max(case["active"], wanted / 4) for case in tried]
    if not active or max(active) < wanted:
        return min(penalties, default=100.0) / 10
    if min(active) >= wanted:
        return max(penalties) * 10
    order = np.argsort(active)
    return float(np.exp(np.interp(np.log(wanted), *np.log([active, penalties])[:, order])))


def dictionary_cases(X_train, X, quick: bool) -> Iterator[dict]:
    """The dictionary of scikit-learn, its codes searched by orthogonal matching pursuit."""
    mean = X_train.mean(axis=0)
    # Each step solves a lasso for a batch; further passes over the rows gained less than 0.005.
    dictionary = MiniBatchDictionaryLearning(
        N_UNITS,
        alpha=1.0,
        batch_size=256,
        max_iter=1 if quick else 4,
        fit_algorithm="cd",
        max_no_improvement=None,
        random_state=0,
    )
    spent = seconds(dictionary.fit, X_train - mean)
    directions = dictionary.components_
    for n_active in ACTIVE:
        codes = sparse_encode(X - mean, directions, algorithm="omp", n_nonzero_coefs=n_active)
        share = explained(X, mean + codes @ directions, mean)
        yield {"explained": share, "active": float(n_active), "seconds": spent}


def pca_cases(X_train, X, quick: bool) -> Iterator[dict]:
    """As many principal components as active units."""
    for n_active in ACTIVE:
        pca = PCA(n_active, random_state=0)
        spent = seconds(pca.fit, X_train)
        share = explained(X, pca.inverse_transform(pca.transform(X)), X_train.mean(axis=0))
        yield {"explained": share, "active": float(n_active), "seconds": spent}


ARMS = {
    "PCA": pca_cases,
    "dictionary": dictionary_cases,
    "topk": partial(autoencoder_cases, sparsity="topk"),
    "topk, searched": partial(autoencoder_cases, sparsity="topk", transform_max_iter=3),
    "batch_topk": partial(autoencoder_cases, sparsity="batch_topk"),
    "l1": l1_cases,
}


def curve(results: Results, arms: list[str], n_rows: int | None, quick: bool) -> None:
    """Variance explained against active units."""
    X_train, X = images("fashion_mnist")
    X_train, X = X_train[: 2000 if quick else n_rows], X[:N_TEST]
    for arm in arms:
        cases = ARMS[arm](X_train, X, quick)
        for n_active, case in zip(ACTIVE, cases, strict=True):
            key = f"curve/{n_active}/{arm}"
            results.save(key, reducer=arm, asked=n_active, rows=len(X_train), **case)


def labelled_mnist(n_rows: int | None) -> list[np.ndarray]:
    """Training and test images and their labels."""
    X_train, X = images("mnist")
    if where := folder():
        with np.load(where / "mnist.npz", allow_pickle=False) as arrays:
            y_train, y = arrays["y_train"], arrays["y_test"]
    else:
        labels = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff").target
        y_train, y = labels[:60_000], labels[60_000:]
    return [X_train[:n_rows], y_train[:n_rows], X, y]


def accuracy(parameters: dict, quick: bool, X_train, y_train, X, y) -> dict:
    """That of a linear classifier on codes, in units of their root mean square length."""
    start = time.perf_counter()
    coder = SparseAutoencoder(
        FEATURE_UNITS,
        random_state=0,
        max_iter=1 if quick else None,
        sparse_output=True,
        **parameters,
    ).fit(X_train)
    codes, unseen = coder.transform(X_train), coder.transform(X)
    length = np.sqrt(codes.multiply(codes).sum() / len(X_train))
    search = GridSearchCV(LinearSVC(tol=1e-3), {"C": C}, cv=5 if len(X_train) < 10_000 else 2)
    search.fit(codes / length, y_train)
    return {
        "accuracy": search.score(unseen / length, y),
        "active": codes.nnz / len(X_train),
        "C": search.best_params_["C"],
        "seconds": time.perf_counter() - start,
    }


def by_folds(parameters: dict, quick: bool) -> dict:
    """The mean over five folds of the digits."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))
    cases = [
        accuracy(parameters, quick, X[train], y[train], X[test], y[test])
        for train, test in folds[: 1 if quick else None]
    ]
    return {key: float(np.mean([case[key] for case in cases])) for key in cases[0]} | {
        "rows": len(folds[0][0])
    }


def classifier(
    results: Results, sets: list[str], kinds: list[str], n_rows: int | None, quick: bool
) -> None:
    """Accuracy on the codes of each kind of sparsity."""
    for kind in kinds:
        for name in sets:
            parameters = FEATURES[kind]
            if "receptive_field" in parameters:
                parameters = parameters | {"image_shape": SETS[name]}
            if name == "digits":
                case = by_folds(parameters, quick)
            else:
                mnist = labelled_mnist(2000 if quick else n_rows)
                case = accuracy(parameters, quick, *mnist) | {"rows": len(mnist[0])}
            results.save(f"classifier/{name}/{kind}", set=name, sparsity=kind, **case)


def page(records: dict) -> str:
    """The measured figures as a page."""
    lines = [
        "# Sparse codes, measured",
        "",
        "Written by `benchmarks/sparse.py`, which says what is measured.",
    ]
    for part, title, columns in (
        (
            "curve",
            "Variance of unseen Fashion-MNIST images explained by few of 1024 units",
            ("asked", "reducer", "rows", "active", "explained", "dead", "seconds"),
        ),
        (
            "classifier",
            "A linear classifier on the codes of 2000 units",
            ("set", "sparsity", "rows", "accuracy", "active", "seconds"),
        ),
    ):
        cases = [record for key, record in records.items() if key.startswith(part)]
        cases.sort(key=lambda case: case[columns[0]])
        rows = [[_cell(case, column) for column in columns] for case in cases]
        lines += ["", f"## {title}", "", *markdown_table(columns, rows)]
    return "\n".join([*lines, ""])


def _cell(case: dict, column: str) -> object:
    value = case.get(column, "")
    return f"{value:.4f}" if column in ("explained", "accuracy") else value


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--part", choices=("curve", "classifier"), help="one of the two")
    options.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="NAME")
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options.add_argument("--kinds", nargs="+", choices=FEATURES, default=list(FEATURES))
    options.add_argument("--rows", type=int, help="number of training images; all if not given")
    asked = options.parse_args()
    results = Results("sparse", quick=asked.quick)
    if asked.part in ("curve", None):
        curve(results, asked.arms, asked.rows, asked.quick)
    if asked.part in ("classifier", None):
        classifier(results, asked.sets, asked.kinds, asked.rows, asked.quick)
    if not asked.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
