"""The autoencoder for maps: rows that are neighbours have codes that are neighbours."""

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from scipy import sparse
from torch import Generator, Tensor

from .._data.array_api import as_numpy
from .._data.dataset import MIN_BLOCK_ROWS, rows_of_block
from .._data.process_group import refuse_process_group
from .._data.validation import CALLABLE, Interval, StrOptions, integer, parameter
from .._nn.autoencoder import Autoencoder
from .._nn.copying import copy_module
from .._nn.landmarks import LandmarkAutoencoder
from .._training.config import DefaultSteps
from .._training.fit_data import FitData, generator
from .._training.initialization import hidden_sizes
from .._training.layout import neighbor_layout
from .._training.neighbors import (
    METRICS,
    Metric,
    cluster_centers,
    nearest_neighbors,
    nearest_rows,
)
from .._training.objective import Objective, ObjectiveWrapper
from .plain import AutoencoderTransformer, Reconstruction

# Steps of the network for each iteration of the layout.
STEPS_PER_ITERATION = 3
# The largest number of iterations, and that of very many rows. Between them it is the number with
# which all positions together are changed at most so many times.
MAX_ITERATIONS, MAX_ITERATIONS_OF_MANY, MAX_CHANGES = 1500, 500, 9e7

# With more rows a projection starts from the code of the encoder only and stays near to it: it then
# predicts the group of a row better than the reconstruction does. With few rows it is worse.
MAX_ANCHORED_ROWS = 20_000

# The largest number of landmarks, and the smallest number of rows for each.
MAX_LANDMARKS, ROWS_OF_LANDMARK = 512, 10

# The weight of the distance from the encoder's code in a projection, divided by that in training.
CODE_WEIGHT = 4.0

MAX_DENSE_ENTRIES = 2**24


class Layout(NamedTuple):
    """Positions of rows that keep neighbours close, in units of the network's codes."""

    positions: Tensor  # (n_samples, n_components), by the index of a row
    held_out: Tensor  # the same for held-out rows
    unit: float  # the width of the kernel
    bandwidth: float = 1.0  # the mean squared distance of a position to the nearest landmark

    def shifted(self, shift: Tensor) -> "Layout":
        """All positions plus a vector."""
        return self._replace(positions=self.positions + shift, held_out=self.held_out + shift)


@dataclass
class NeighborReconstruction(ObjectiveWrapper):
    """A reconstruction loss, plus the distance of codes from the positions z of a layout.

    If the encoder predicts probabilities p of landmarks c, they are those of the position::

        loss(decode(encode(x)), x)
          + weight * n_features * (log(1 + |encode(x) - z|^2) - sum over k of q_k(z) log p_k(x)),
        q_k(z) proportional to exp(-|z - c_k|^2 / bandwidth)
    """

    objective: Reconstruction
    weight: float
    n_neighbors: int
    metric: Metric
    has_landmarks: bool
    layout: Layout | None = None
    z: Tensor | None = None  # (n_samples, n_components): the positions of the rows of a batch

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row; see `Objective.per_row`."""
        if self.layout is None or self.z is None:
            return self.objective.per_row(network, x, rng)
        if (landmarks := landmarks_of(network)) is None:
            code, cross_entropy = network.encode(x), x.new_zeros(len(x))
        else:
            assert isinstance(network, LandmarkAutoencoder)
            if network.training:
                network.leave_pca()
            code, log_p = network.encode_with_probabilities(x)
            q = (-torch.cdist(self.z, landmarks).square() / self.layout.bandwidth).softmax(1)
            cross_entropy = -(q * log_p).sum(1)
        distance = (code - self.z) / self.layout.unit
        term = distance.square().sum(1).log1p() + cross_entropy
        return self.objective.at_code(network, x, code) + self.weight * x.shape[1] * term

    def at(self, index: Tensor, *, held_out: bool) -> Objective:
        """The objective with the positions of the rows at an index."""
        assert self.layout is not None
        positions = self.layout.held_out if held_out else self.layout.positions
        return replace(self, z=positions[index])

    def stages(self, network: Autoencoder) -> tuple[Objective, ...]:
        """The stages of the first term, each with the second term."""
        stages = self.objective.stages(network)
        return tuple(replace(self, objective=cast(Reconstruction, stage)) for stage in stages)

    @property
    def network_class(self) -> type[Autoencoder]:
        """With landmarks, if the encoder predicts any."""
        return LandmarkAutoencoder if self.has_landmarks else Autoencoder

    def prepare_network(self, network: Autoencoder, data: FitData) -> None:
        """Compute the positions of all rows, which start at the codes of the network."""
        self.objective.prepare_network(network, data)
        self.lay_out(network, data)
        assert self.layout is not None
        positions = self.layout.positions[data.train]
        n_landmarks = min(len(positions) // ROWS_OF_LANDMARK, MAX_LANDMARKS)
        if self.has_landmarks and n_landmarks > 1:
            centers = cluster_centers(positions.cpu(), n_landmarks, data.seeds.noise)
            mean = centers.mean(0)  # subtracted, so that all codes are those of PCA at the start
            assert isinstance(network, LandmarkAutoencoder)
            many_rows = len(positions) > MAX_ANCHORED_ROWS
            weight = CODE_WEIGHT * self.weight * data.X.shape[1] if many_rows else 0.0
            network.add_landmarks(centers - mean, weight)
            self.layout = self.layout.shifted(-mean.to(positions))
            self.set_bandwidth(network, data)
            if many_rows:
                network.anchors = network.anchors[:0]

    def set_bandwidth(self, network: Autoencoder, data: FitData) -> None:
        """Compute the mean squared distance of a position to the nearest landmark."""
        assert self.layout is not None
        landmarks, positions = landmarks_of(network), self.layout.positions[data.train]
        if landmarks is None:
            return
        landmarks = landmarks.to(positions)
        blocks = positions.split(rows_of_block(len(landmarks)))
        nearest = torch.cat([torch.cdist(block, landmarks).amin(1) for block in blocks])
        self.layout = self.layout._replace(bandwidth=nearest.square().mean().item() or 1.0)

    def lay_out(self, network: Autoencoder, data: FitData) -> None:
        """Compute the positions of all rows, which start at the codes of the network."""
        own = index_of_own_rows(data)
        X = rows_for_distances(data.X, own, data.moments.mean)
        start = codes_of_rows(network, data, own)
        n_neighbors = min(self.n_neighbors, len(start) - 1)
        size = start.std(correction=0).item() or 1.0
        positions, unit = start, size
        if n_neighbors:
            neighbors = nearest_neighbors(X, n_neighbors, self.metric, data.seeds.order)
            n_steps = data.config.n_steps(len(data.train))
            n_iter = min(math.ceil(n_steps / STEPS_PER_ITERATION), max_iterations(len(start)))
            index = torch.from_numpy(neighbors).to(start.device)
            layout = neighbor_layout(start / size, index, n_iter, generator(data.seeds.noise))
            unit = size / (layout.std(correction=0).item() or 1.0)
            positions = layout * unit  # as large as the codes at the start
        by_row = by_index(positions, own, len(data.rows))
        held_out = by_row
        if data.held_out_rows is not data.rows:
            X_val = as_numpy(data.held_out_rows[data.held_out]) * data.scale + data.shift
            X_val = with_means(X_val, data.moments.mean)
            nearest = torch.from_numpy(nearest_rows(X, X_val, self.metric))
            held_out = by_index(
                positions[nearest.to(start.device)], data.held_out, len(data.held_out_rows)
            )
        self.layout = Layout(by_row, held_out, unit)


@dataclass(eq=False, repr=False, kw_only=True)
class NeighborAutoencoder(AutoencoderTransformer):
    """An autoencoder for maps: neighbouring rows have neighbouring codes.

    Like t-SNE and UMAP, it draws maps of data in which similar rows are near to each other. Like
    PCA, it maps new rows by `transform`, and codes back to rows by `inverse_transform`. Training
    has two steps. The first one is a neighbour embedding of the training rows: a position z for
    each row, with the loss of t-SNE [1]_, where N are the pairs of a row and one of its nearest
    neighbours::

        minimise over z    mean over (i, j) in N of  log(1 + |z_i - z_j|^2)
                           + log of the mean over all pairs (i, j) of  1 / (1 + |z_i - z_j|^2)

    The first term moves neighbours together. The second one moves all rows apart; it is estimated
    from random pairs of rows [2]_. Two rows that are neighbours of each other have a larger weight
    in the first term. The second step trains the autoencoder. Its codes are near to the positions,
    and its reconstructions are near to the rows [3]_::

        minimise over g, p, f    sum over rows of  |x - decode(encode(x))|^2
                    + neighbor_weight * n_features * (log(1 + |encode(x) - z|^2)
                                                      - sum over k of q_k(z) log p_k(x))
        encode(x) = g(x) + sum over k of w_k c_k,    w_k proportional to p_k(x)^4
        decode(code) = mean + V' code + f(code)

    g, p and f are networks, and V holds the principal components. The landmarks c are the centres
    of clusters of the positions, and q(z) are their weights at a position, which decrease with the
    distance. The encoder predicts these weights by p(x): a row that may belong to one of two
    distant groups is near to the more probable one, and not between them. Rows have standardised
    units here. Both steps start with PCA, so that the maps of several seeds or of similar data are
    similar. As for :class:`AutoencoderTransformer`, the codes have mean zero, are uncorrelated, and
    are sorted by explained variance, and `transform` refines the code of the encoder.

    Parameters
    ----------
    batch_size : int or "auto", default="auto"
        Number of rows in a step. "auto" means three times the square root of the number of rows,
        but at least 16 and at most 128.

    max_iter : int or None, default=None
        Maximum number of epochs (passes over the training rows). None means 1500 steps for up to
        5000 rows, 4500 steps for 15,000 rows and 9000 steps for 30,000 rows or more, but at least 6
        epochs. The positions are computed in one iteration for every three steps, but in at most
        1500 iterations, and in fewer for more than 60,000 rows.

    n_iter_no_change : int or None, default=None
        Number of epochs without progress after which training stops; see `tol`. None means a
        fifth of the default number of steps (see `max_iter`), but at least three epochs.

    {shared_parameters}

    neighbor_weight : float, default=0.3
        Weight of the distance between codes and positions, at least 0. With a larger weight, rows
        keep more of their neighbours, and reconstructions are worse. With 0, this is
        :class:`AutoencoderTransformer`.

    n_neighbors : int, default=15
        Number of nearest neighbours of each row; all other rows, if there are fewer. With more
        neighbours, the map shows less detail.

    metric : str or callable, default="euclidean"
        Distance between rows: "euclidean", "cosine", "manhattan", "chebyshev", "correlation",
        "braycurtis", "canberra", "hamming", "jaccard", "dice", "russellrao", "yule", or a function
        of two rows. See :func:`sklearn.metrics.pairwise_distances`. Missing values are replaced by
        the mean.

    Attributes
    ----------
    {shared_attributes}

    {pca_attributes}

    See Also
    --------
    AutoencoderTransformer : Lower reconstruction errors.
    LatentSpaceDisplay : Draws the map.
    sklearn.manifold.TSNE : The neighbour embedding, without a map for new rows.

    Notes
    -----
    For more than 20,000 rows and the metrics "euclidean" and "cosine", the neighbours are
    approximate: they are searched for among 15,000 rows, those of the nearest of
    ``sqrt(n_samples)`` clusters. With other metrics, the neighbours are exact, which takes a time
    proportional to ``n_samples**2``.

    Held-out rows have positions, too, on which the encoder is not trained. The position of a row of
    `X_val` is that of the nearest row of `X`.

    There is one landmark for every ten training rows, but there are at most 512. There are none
    with `network`, `tied_weights`, `pretraining` or without hidden layers: then the encoder is that
    of :class:`AutoencoderTransformer`, and the sums over k are left out.

    With more than 20,000 rows, `transform` stays near to the code of the encoder: it minimises the
    reconstruction error plus ``4 * neighbor_weight * n_features`` times the squared distance from
    that code, in standard deviations.

    There is no ``metric="precomputed"``: the encoder and the decoder need the features of the rows,
    which a matrix of distances does not have. A function can be the metric.

    `partial_fit` determines the neighbours of a row among the rows of the same call, so that calls
    with many rows are better. The positions start at the codes of the earlier calls.

    `fit` raises an error within a process group of `torch.distributed`.

    References
    ----------
    .. [1] L. van der Maaten and G. Hinton, "Visualizing data using t-SNE", Journal of Machine
       Learning Research, 2008.
    .. [2] S. Damrich, N. Böhm, F. A. Hamprecht and D. Kobak, "From t-SNE to UMAP with contrastive
       learning", ICLR, 2023.
    .. [3] M. Á. Carreira-Perpiñán and M. Vladymyrov, "A fast, universal algorithm to learn
       parametric nonlinear embeddings", NIPS, 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import LatentSpaceDisplay, NeighborAutoencoder
    >>> X, y = load_digits(return_X_y=True)
    >>> reducer = NeighborAutoencoder(max_iter=20, random_state=0).fit(X[:1500])
    >>> reducer.transform(X[1500:]).shape
    (297, 2)
    >>> display = LatentSpaceDisplay.from_estimator(reducer, X, y)
    """

    __module__ = "skae"

    _default_steps: ClassVar[DefaultSteps] = AutoencoderTransformer._default_steps._replace(
        most=9000
    )

    neighbor_weight: float = parameter(0.3, Interval(Real, 0))
    n_neighbors: int = parameter(15, integer(1))
    metric: Metric = parameter("euclidean", StrOptions(METRICS), CALLABLE)

    def _objective(self, data: FitData) -> Objective:
        reconstruction = super()._objective(data)
        if not self.neighbor_weight:
            return reconstruction
        assert isinstance(reconstruction, Reconstruction)
        refuse_process_group(type(self).__name__)
        objective = NeighborReconstruction(
            reconstruction,
            self.neighbor_weight,
            self.n_neighbors,
            self.metric,
            has_landmarks=self._has_landmarks(),
        )
        # There are no data where a subclass extends the loss of a row.
        if data is not None and data.fitted is not None:
            objective.lay_out(data.fitted.network, data)
            objective.set_bandwidth(data.fitted.network, data)
        return objective

    def _steps(self) -> DefaultSteps:
        plain = AutoencoderTransformer._default_steps
        return self._default_steps if self.neighbor_weight else plain

    def _has_landmarks(self) -> bool:
        """Whether the encoder predicts landmarks: if it has hidden layers of its own."""
        own = self.network is None and not self.tied_weights and self.pretraining is None
        return own and bool(hidden_sizes(self, 1))


def max_iterations(n_rows: int) -> int:
    """The largest number of iterations of the layout of so many rows."""
    return min(MAX_ITERATIONS, max(MAX_ITERATIONS_OF_MANY, int(MAX_CHANGES / n_rows)))


def landmarks_of(network: Autoencoder) -> Tensor | None:
    """The landmarks as codes of the network, or None."""
    head = network.head if isinstance(network, LandmarkAutoencoder) else None
    return None if head is None else head.landmarks * network.scales.delta_scale


def index_of_own_rows(data: FitData) -> Tensor:
    """The index of the rows that have positions of their own, in the order of the rows.

    These are the training rows, and the held-out rows unless they are those of `X_val`. A map
    without positions of the held-out rows would depend on the choice of these rows, and thus on the
    seed, much more than on anything else.
    """
    if data.held_out_rows is not data.rows:
        return data.train.sort().values
    return torch.cat([data.train, data.held_out]).unique()


def codes_of_rows(network: Autoencoder, data: FitData, index: Tensor) -> Tensor:
    """The codes of the encoder for the rows at an index, (n_rows, n_components), in float32."""
    network = copy_module(network).to(data.device, torch.float32).eval()
    with torch.no_grad():
        blocks = index.split(rows_of_block(data.X.shape[1]))
        return torch.cat([network.encode(data.rows[block]) for block in blocks])


def rows_for_distances(X: Any, index: Tensor, mean: np.ndarray) -> Any:
    """The rows of `X` at an index, without missing entries."""
    if isinstance(X, Tensor):  # neighbours are searched for in host memory
        X = np.concatenate([as_numpy(block) for block in X.split(MIN_BLOCK_ROWS)])
    if sparse.issparse(X) and np.prod(X.shape, dtype=float) <= MAX_DENSE_ENTRIES:
        X = X.toarray()  # distances are then those of dense rows, with the same rounding errors
    return with_means(X[index.cpu().numpy()], mean)


def with_means(X: Any, mean: np.ndarray) -> Any:
    """An array or CSR matrix, with missing entries replaced by the mean of their column."""
    if sparse.issparse(X):
        X = X.copy()
        X.data = np.where(np.isnan(X.data), mean[X.indices], X.data).astype(X.dtype)
        return X
    return np.where(np.isnan(X), mean, X).astype(X.dtype)


def by_index(values: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """Values of some rows as a tensor for all rows; zero for the others."""
    return values.new_zeros(n_rows, *values.shape[1:]).index_copy_(0, index, values)
