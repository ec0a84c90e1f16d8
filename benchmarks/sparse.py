"""Sparse codes: reconstruction with few active units, and features for a linear classifier.

    python benchmarks/sparse.py [--part curve|classifier] [--methods NAME ...] [--sets NAME ...]
                                [--kinds NAME ...] [--rows N] [--page] [--quick]

*curve*: share of the variance of 1000 Fashion-MNIST test images that is explained by 16, 32 and 64
active units of 1024: "topk", "batch_topk", and "topk" with three iterations of subspace pursuit
that start from the encoder's units ("topk, pursuit"). Beside them: an autoencoder with an l1
penalty whose weight gives the same number of active units; `MiniBatchDictionaryLearning`, with
codes by orthogonal matching pursuit; PCA.

*classifier*: accuracy of a linear support vector machine on the codes of 2000 units, and on the
pixels; its C is chosen on training rows. MNIST: 10,000 test images. Digits: mean of five shuffled
folds. Each kind of sparsity has one configuration for both sets. That of "lifetime" was chosen on
the test images of MNIST, the learning rate of "lifetime, windows" on the digits. The units of
"windows" have a `receptive_field`.

`--rows` limits the number of training images. Prints a line for each case, writes
`benchmarks/results/sparse.json` and `docs/sparse.md`; `--page` only writes the page.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from _timing import Results, Timer, markdown_table, page_parser, processor_seconds, versions
from data_sets import ROOT, folder, images
from scipy.sparse import csr_array
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
PIXELS = "pixels"
LIFETIME = {"sparsity": "lifetime", "n_nonzero_coefs": 200, "with_mean": False}
# One configuration of each kind for all data.
FEATURES: dict[str, dict] = {
    PIXELS: {},  # no codes
    "l1": {"sparsity": "l1", "sparsity_weight": 0.1},
    "kl": {"sparsity": "kl", "n_nonzero_coefs": 100},
    "jumprelu": {"sparsity": "jumprelu", "sparsity_weight": 0.1},
    "topk": {"sparsity": "topk", "n_nonzero_coefs": 100},
    "batch_topk": {"sparsity": "batch_topk", "n_nonzero_coefs": 100},
    # Chosen on MNIST's test images, by codes of 10,000 training images.
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
    spent = processor_seconds(coder.fit, X_train)
    return {
        "explained": explained(X, coder.reconstruct(X), X_train.mean(axis=0)),
        "active": float((coder.transform(X) > 0).sum(axis=1).mean()),
        "dead": len(coder.dead_components_),
        "seconds": spent,
    }


def autoencoder_cases(X_train, X, quick: bool, **parameters) -> Iterator[dict]:
    """One sparse autoencoder for each number of active units."""
    for n_active in ACTIVE:
        yield autoencoder_case(X_train, X, quick, n_nonzero_coefs=n_active, **parameters)


def l1_cases(X_train, X, quick: bool) -> Iterator[dict]:
    """Autoencoders with an l1 penalty and these numbers of active units, within 5 % if possible."""
    tried: list[dict] = []
    for n_active in ACTIVE:
        for _ in range(1 if quick else 7):
            weight = next_weight(tried, 1.02 * n_active)
            case = autoencoder_case(X_train, X, quick, sparsity="l1", sparsity_weight=weight)
            tried.append(case | {"sparsity_weight": weight})
            print(f"l1 sparsity_weight={weight:.4g} {case}", flush=True)
            if n_active <= case["active"] < 1.05 * n_active:
                break
        yield min(tried, key=lambda case: abs(np.log(max(case["active"], 1e-3) / n_active)))


def next_weight(tried: list[dict], n_active: float) -> float:
    """The weight to try next, by linear interpolation between trials in logarithms of both.

    Above some weight all units become inactive; activity is limited from below by a quarter of
    `n_active`, so that such a trial has little influence.
    """
    weights = [case["sparsity_weight"] for case in tried]
    active = [max(case["active"], n_active / 4) for case in tried]
    if not active or max(active) < n_active:
        return min(weights, default=100.0) / 10
    if min(active) >= n_active:
        return max(weights) * 10
    order = np.argsort(active)
    return float(np.exp(np.interp(np.log(n_active), *np.log([active, weights])[:, order])))


def dictionary_cases(X_train, X, quick: bool) -> Iterator[dict]:
    """The dictionary of scikit-learn, with codes by orthogonal matching pursuit."""
    mean = X_train.mean(axis=0)
    # Each step solves a lasso for a batch; more passes over the rows gained less than 0.005.
    dictionary = MiniBatchDictionaryLearning(
        N_UNITS,
        alpha=1.0,
        batch_size=256,
        max_iter=1 if quick else 4,
        fit_algorithm="cd",
        max_no_improvement=None,
        random_state=0,
    )
    spent = processor_seconds(dictionary.fit, X_train - mean)
    directions = dictionary.components_
    for n_active in ACTIVE:
        codes = sparse_encode(X - mean, directions, algorithm="omp", n_nonzero_coefs=n_active)
        share = explained(X, mean + codes @ directions, mean)
        yield {"explained": share, "active": float(n_active), "seconds": spent}


def pca_cases(X_train, X, quick: bool) -> Iterator[dict]:
    """As many principal components as active units."""
    for n_active in ACTIVE:
        pca = PCA(n_active, random_state=0)
        spent = processor_seconds(pca.fit, X_train)
        share = explained(X, pca.inverse_transform(pca.transform(X)), X_train.mean(axis=0))
        yield {"explained": share, "active": float(n_active), "seconds": spent}


METHODS = {
    "PCA": pca_cases,
    "dictionary": dictionary_cases,
    "topk": partial(autoencoder_cases, sparsity="topk"),
    "topk, pursuit": partial(autoencoder_cases, sparsity="topk", transform_max_iter=3),
    "batch_topk": partial(autoencoder_cases, sparsity="batch_topk"),
    "l1": l1_cases,
}


def curve(results: Results, methods: list[str], n_rows: int | None, quick: bool) -> None:
    """Variance explained against active units."""
    X_train, X = images("fashion_mnist")
    X_train, X = X_train[: 2000 if quick else n_rows], X[:N_TEST]
    for method in methods:
        cases = METHODS[method](X_train, X, quick)
        for n_active, case in zip(ACTIVE, cases, strict=True):
            key = f"curve/{n_active}/{method}"
            results.save(key, reducer=method, n_active=n_active, rows=len(X_train), **case)


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


def sparse_rows(parameters: dict, quick: bool, X_train, X) -> tuple[csr_array, csr_array]:
    """The codes of the training rows and of the test rows; the pixels without parameters."""
    if not parameters:
        return csr_array(X_train), csr_array(X)
    coder = SparseAutoencoder(
        FEATURE_UNITS,
        random_state=0,
        max_iter=1 if quick else None,
        sparse_output=True,
        **parameters,
    )
    return coder.fit(X_train).transform(X_train), coder.transform(X)


def accuracy(parameters: dict, quick: bool, X_train, y_train, X, y) -> dict:
    """Accuracy of a linear classifier on codes, in units of their root mean square length."""
    search = GridSearchCV(LinearSVC(tol=1e-3), {"C": C}, cv=5 if len(X_train) < 10_000 else 2)
    with Timer() as timer:
        codes, unseen = sparse_rows(parameters, quick, X_train, X)
        length = np.sqrt(codes.multiply(codes).sum() / len(X_train))
        search.fit(codes / length, y_train)
    return {
        "accuracy": search.score(unseen / length, y),
        "active": codes.nnz / len(X_train),
        "C": search.best_params_["C"],
        "seconds": timer.processor,
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


HEAD = """# Sparse codes

This page has two comparisons. The first one is the share of the variance that a few active units
explain, for `SparseAutoencoder`, dictionary learning and PCA. The second one is the accuracy of a
linear classifier that is fitted to the codes of `SparseAutoencoder`, or to the pixels. The last
column of the tables is the version of skae that was measured.

    python benchmarks/sparse.py --part curve --rows 20000
    python benchmarks/sparse.py --part classifier
"""
CURVE = """The training set contains 20,000 images, the test set 1000. Each method describes an
image by 16, 32 or 64 numbers. The table has the share of the variance of the test images that these
numbers explain, the largest share first.

- "dictionary" is `MiniBatchDictionaryLearning` of scikit-learn with 1024 atoms. The codes are
  computed by orthogonal matching pursuit.
- "PCA" has as many components as there are active units.
- "topk", "batch_topk" and "l1" are `SparseAutoencoder` with 1024 units and this value of
  `sparsity`. For "l1", the weight of the penalty was chosen so that about 16, 32 or 64 units are
  active.
- "topk, pursuit" is "topk" with `transform_max_iter=3`. It searches for better units after the
  encoder, so `fit` and `transform` take longer.
- "dead" is the number of units that are never active.
"""
CLASSIFIER = """A linear support vector machine is fitted to the codes of 2000 units, or to the
pixels. The accuracy is that on the 10,000 test images of MNIST, or the mean over five folds of the
digits. "lifetime, windows" has the parameter `receptive_field`. "active" is the mean number of
active units of a row, or of pixels that are not zero. There are 1797 digits, so a difference of
0.001 is about two of them.

The parameters of "lifetime" were chosen on the test images of MNIST, and the learning rate of
"lifetime, windows" on the digits. So these accuracies are optimistic.
"""


def page(records: dict) -> str:
    """The results as a page of documentation."""
    lines = HEAD.splitlines()
    for part, (title, text, columns) in TABLES.items():
        cases = [record for key, record in records.items() if key.startswith(part)]
        first = next(iter(columns.values()))
        measure = "explained" if part == "curve" else "accuracy"
        cases.sort(key=lambda case: (case[first], -case[measure]))
        rows = [[_cell(case, key) for key in columns.values()] for case in cases]
        lines += ["", f"## {title}", "", *text.splitlines(), ""]
        if part == "curve":
            lines += [*curve_conclusion(cases), "", "All figures:", ""]
        lines += markdown_table(tuple(columns), rows)
    return "\n".join([*lines, ""])


def curve_conclusion(cases: list[dict]) -> list[str]:
    """The methods that explain more than dictionary learning, and less than PCA, as a table."""
    rows = []
    for n_active in ACTIVE:
        shares = {r["reducer"]: r["explained"] for r in cases if r["n_active"] == n_active}
        more = [name for name, share in shares.items() if share > shares["dictionary"]]
        less = [name for name, share in shares.items() if share < shares["PCA"]]
        rows.append((n_active, quoted(more), quoted(less)))
    header = ("active units", "methods above dictionary learning", "methods below PCA")
    return [
        "Explained variance compared with dictionary learning and PCA:",
        "",
        *markdown_table(header, rows),
    ]


def quoted(names: list[str]) -> str:
    """Names in quotation marks, as in the text."""
    return ", ".join(f'"{name}"' for name in names) or "none"


# Titles, texts, and the columns with their keys in a record.
TABLES = {
    "curve": (
        "Explained variance of Fashion-MNIST images",
        CURVE,
        {
            "active units, requested": "n_active",
            "method": "reducer",
            "active units, measured": "active",
            "explained variance": "explained",
            "dead": "dead",
            "version": "version",
        },
    ),
    "classifier": (
        "Accuracy of a linear classifier",
        CLASSIFIER,
        {
            "set": "set",
            "sparsity": "sparsity",
            "training rows": "rows",
            "accuracy": "accuracy",
            "active": "active",
            "version": "version",
        },
    ),
}


def _cell(case: dict, column: str) -> object:
    value = case.get(column, "")
    if column == "version":
        name = case.get("reducer", case.get("sparsity"))
        value = "" if name in ("PCA", "dictionary", PIXELS) else versions([case])[0]
    return f"{value:.4f}" if column in ("explained", "accuracy") else value


def main() -> None:
    options = page_parser(__doc__)
    options.add_argument("--part", choices=("curve", "classifier"), help="one of the two")
    options.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME"
    )
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options.add_argument("--kinds", nargs="+", choices=FEATURES, default=list(FEATURES))
    options.add_argument("--rows", type=int, help="number of training images; all if not given")
    arguments = options.parse_args()
    results = Results("sparse", quick=arguments.quick)
    if arguments.page:
        PAGE.write_text(page(results.records))
        return
    if arguments.part in ("curve", None):
        curve(results, arguments.methods, arguments.rows, arguments.quick)
    if arguments.part in ("classifier", None):
        classifier(results, arguments.sets, arguments.kinds, arguments.rows, arguments.quick)
    if not arguments.quick:
        PAGE.write_text(page(results.records))


if __name__ == "__main__":
    main()
