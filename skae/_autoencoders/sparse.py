"""The sparse autoencoder: a dictionary of many units, few of which are active in a row."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from .._data.array_api import as_numpy, to_namespace_of
from .._data.dataset import row_blocks
from .._data.device import as_array
from .._data.torch_defaults import with_torch_defaults
from .._data.user_warnings import warn_user
from .._data.validation import (
    BOOLEAN,
    BOOLEANS,
    FRACTION,
    NONE,
    Interval,
    StrOptions,
    as_tuple,
    integer,
    parameter,
    positive_integers,
)
from .._losses.reconstruction import ReconstructionLoss
from .._nn.autoencoder import Autoencoder
from .._nn.fitted import FittedAutoencoder
from .._nn.sparse_activations import SPARSE_ACTIVATIONS
from .._nn.sparse_coder import SparseCoder
from .._training.fit import network_parts
from .._training.fit_data import FitData
from .._training.initialization import Initialization, make_pca_path, set_sizes
from .._training.objective import Objective
from .._training.result import FitResult, TrainedNetwork, code_statistics
from .._training.rotation import CodeBasis, UnitActivity
from .base import BaseAutoencoder
from .checks import warn_without_effect
from .dictionary_update import method_of_optimal_directions
from .revival import dead_units, revival_loss
from .sparse_init import calibrate_thresholds, make_sparse_coder, number_of_active

# The parameters of the class that training does not change.
OF_NETWORK = ("sparsity", "n_nonzero_coefs", "receptive_field", "with_mean")
# What sets how sparse codes are: the default, for which kinds, and for others.
SETS_SPARSITY: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "n_nonzero_coefs": (None, ("topk", "batch_topk", "lifetime", "kl"), "sparsity_weight"),
    "sparsity_weight": (1.0, ("l1", "kl", "jumprelu"), "n_nonzero_coefs"),
}


@dataclass
class SparseCoding(Objective):
    """``loss(decode(encode(x)), x) + weight * penalty(code)``, and revival of inactive units."""

    loss: ReconstructionLoss
    weight: float
    n_pursuit_steps: int = 0

    def per_row(self, network: Autoencoder, x: Tensor, rng: Generator) -> Tensor:
        """Loss of each row; see `Objective.per_row`."""
        if not isinstance(network, SparseCoder):  # hidden layers in pretraining are not sparse
            return self.loss.loss(network.decode(network.encode(x)), x)
        activation, pre_activation = network.encoder.activation, network.pre_activation(x)
        code = activation(pre_activation)
        raw = network.decode(code)
        loss = self.loss.loss(raw, x) + self.weight * activation.penalty(pre_activation, code)
        if not network.training:
            return loss
        return loss + revival_loss(network, pre_activation, code, x - self.loss.mean(raw))

    def calibrate(self, fitted: FittedAutoencoder, data: FitData) -> None:
        """Update the dictionary for searched codes; set thresholds to those of all rows."""
        coder = fitted.network
        coder.n_pursuit_steps = self.n_pursuit_steps
        if self.n_pursuit_steps and coder.decoder.receptive_fields is None:
            method_of_optimal_directions(coder, data)
        calibrate_thresholds(fitted, data)


class SparseAttributes:
    """Fitted attributes, for type checkers: in a dataclass they would be parameters."""

    activation_frequency_: np.ndarray


@dataclass(eq=False, repr=False)
class SparseAutoencoder(BaseAutoencoder, SparseAttributes):
    """An autoencoder of many units, few of which are active in each row.

    Each unit has a direction of unit length. The reconstruction of a row is the mean plus a sum of
    the directions of a few active units, each multiplied by a number that is not negative::

        minimise over E, b, D    sum over rows of  |x - decode(encode(x))|^2 + weight * penalty
        encode(x) = sparse(E (x - mean) + b + g(x))
        decode(code) = mean + D' code + f(code)

    `sparse` sets most entries of the code to zero. The parameter `sparsity` determines which units
    are active, and the penalty on the code, which has the weight `sparsity_weight`:

    ============  ==========================================  ====================================
    `sparsity`    active units                                penalty
    ============  ==========================================  ====================================
    "topk"        the `n_nonzero_coefs` largest of each row   none
    "batch_topk"  those above one threshold for all units;    none
                  on average `n_nonzero_coefs`
    "lifetime"    those above one threshold for each unit;    none
                  each unit is active equally often, and
                  `n_nonzero_coefs` units on average
    "l1"          those above zero                            sum of the code
    "kl"          those above zero                            difference between the mean activity
                                                              of each unit and `n_nonzero_coefs` /
                                                              `n_components`, as a KL divergence
    "jumprelu"    those above a learned threshold for each    number of active units
                  unit
    ============  ==========================================  ====================================

    By default there are no hidden layers, so the networks g and f are absent. With `tied_weights`,
    the rows of E are those of D, each multiplied by a learned number.

    The encoder finds the best units of a row only approximately. With `transform_max_iter` above 0,
    "topk" searches for better units after the encoder. The reconstruction error is then lower, but
    similar rows can have very different codes, which are worse features for a classifier.

    Codes are neither centred nor sorted. Units that are hardly ever active are trained on the
    residuals of single rows, so that they become active. Training with "topk" starts with 16 times
    as many active units and decreases their number to `n_nonzero_coefs` within the first steps.
    Training with "lifetime" varies the number of active units from step to step.

    Parameters
    ----------
    {shared_parameters}

    n_components : int or None, default=None
        Number of units, which may exceed the number of features. None is the number of features.

    sparsity : {"topk", "batch_topk", "lifetime", "l1", "kl", "jumprelu"}, default="topk"
        Which units are active; see the table above.

    n_nonzero_coefs : int or None, default=None
        Number of active units in a row, at most `n_components`. For "topk" this is the maximum, for
        "batch_topk" the mean over the training rows, and for "lifetime" approximately the mean. For
        "kl" the number also depends on `sparsity_weight`. None means a tenth of the number of
        features, at least one.

    sparsity_weight : float, default=1.0
        Weight of the penalty for "l1", "kl" and "jumprelu", at least 0. The same weight has the
        same effect if `X` is multiplied by a number.

    transform_max_iter : int, default=0
        Number of steps of a search for better units after the encoder. More than three steps hardly
        improve the codes. With 0, the code is that of the encoder. The search is possible for
        "topk" without hidden layers and with the squared error only. If there is a search, `fit`
        finally adjusts the directions of the units to its results.

    receptive_field : int, float in (0, 1) or None, default=None
        Height and width of the window of the image that a unit reads and reconstructs. A float is a
        share of the height and width of the image. Units then represent parts of images, which can
        be better features. More windows are placed where the pixels vary more. None means that
        units read the whole image. Requires `image_shape`.

    with_mean : bool, default=True
        Whether the encoder subtracts the mean from the rows. False is recommended for pixels and
        counts: zeros then have no effect on the gradient of the encoder.

    sparse_output : bool, default=False
        Whether `transform` returns a CSR array.

    penalty : float, default="deprecated"
        Former name of `sparsity_weight`.

        .. deprecated:: 0.2
           Use `sparsity_weight`; `penalty` will be removed in version 0.4.

    hidden_layer_sizes : sequence of int, default=()
        Width of each hidden layer of g. f has the same layers in reverse order.

    init : {"pca", "random"}, default="pca"
        Has no effect. The directions of the units are initialised with rows of `X`.

    whiten : bool, default=False
        Must be False. Use `StandardScaler(with_mean=False)` after the autoencoder instead.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        The directions of the units, each of unit length.
    explained_variance_ : ndarray of shape (n_components_,)
        The variance that each unit explains, in squared units of `X`. The total is divided among
        the units in proportion to the variances of their codes.
    pca_score_ : float
        The `score` of PCA with `n_nonzero_coefs` components on the training rows.
    activation_frequency_ : ndarray of shape (n_components_,)
        Share of the training rows in which each unit is active.
    dead_components_ : ndarray of shape (n_dead,)
        Indices of the units that are active in no training row.
    {shared_attributes}

    See Also
    --------
    sklearn.decomposition.MiniBatchDictionaryLearning : A dictionary without an encoder: codes are
        optimised for each row.
    AutoencoderTransformer : Few components, all active in each row.

    References
    ----------
    .. [1] A. Makhzani and B. Frey, "k-sparse autoencoders", ICLR, 2014.
    .. [2] L. Gao et al., "Scaling and evaluating sparse autoencoders", 2024.
    .. [3] B. Bussmann, P. Leask and N. Nanda, "BatchTopK sparse autoencoders", 2024.
    .. [4] S. Rajamanoharan et al., "Jumping ahead: improving reconstruction fidelity with JumpReLU
       sparse autoencoders", 2024.
    .. [5] A. Makhzani and B. Frey, "Winner-take-all autoencoders", NIPS, 2015. ("lifetime".)
    .. [6] A. Ng, "Sparse autoencoder", CS294A lecture notes, 2011.
    .. [7] W. Dai and O. Milenkovic, "Subspace pursuit for compressive sensing signal
       reconstruction", IEEE Transactions on Information Theory, 2009. (The search.)
    .. [8] K. Engan, S. O. Aase and J. H. Husøy, "Method of optimal directions for frame design",
       ICASSP, 1999. (The dictionary of searched codes.)
    .. [9] Q. V. Le et al., "Building high-level features using large scale unsupervised learning",
       ICML, 2012. (Local receptive fields.)

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import SparseAutoencoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> coder = SparseAutoencoder(n_components=200, n_nonzero_coefs=8, random_state=0).fit(X)
    >>> codes = coder.transform(X)
    >>> codes.shape, int((codes > 0).sum(axis=1).max())
    ((1797, 200), 8)
    >>> bool(coder.score(X) > coder.pca_score_)
    True
    """

    __module__ = "skae"

    n_components: int | None = parameter(None, integer(1), NONE)
    _: KW_ONLY
    hidden_layer_sizes: Sequence[int] | Literal["auto"] = parameter((), positive_integers())
    sparsity: Literal["topk", "batch_topk", "lifetime", "l1", "kl", "jumprelu"] = parameter(
        "topk", StrOptions(SPARSE_ACTIVATIONS)
    )
    n_nonzero_coefs: int | None = parameter(None, integer(1), NONE)
    sparsity_weight: float = parameter(1.0, Interval(Real, 0))
    transform_max_iter: int = parameter(0, integer(0))
    receptive_field: int | float | None = parameter(None, integer(1), FRACTION, NONE)
    with_mean: bool = parameter(True, BOOLEAN)
    sparse_output: bool = parameter(False, BOOLEAN)
    penalty: float | Literal["deprecated"] = parameter(
        "deprecated", Interval(Real, 0), StrOptions(["deprecated"])
    )

    _overcomplete: ClassVar[bool] = True
    _of_network = BaseAutoencoder._of_network + OF_NETWORK

    @with_torch_defaults
    def transform(self, X) -> np.ndarray | sparse.csr_array:
        """Encode rows.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. NaN marks missing values.

        Returns
        -------
        codes : ndarray or CSR array of shape (n_samples, n_components_)
            The codes, in the dtype of `X`. A CSR array if `sparse_output` is True.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.
        """
        check_is_fitted(self)
        X = self._validated(X)

        codes = partial(self._apply, apply=FittedAutoencoder.encode, width=self.n_components_)
        if not self.sparse_output:
            return codes(X)
        dense = (as_numpy(codes(X[rows])) for rows in row_blocks(X, self.n_components_, 8))
        return sparse.vstack([sparse.csr_array(block) for block in dense], format="csr")

    def _objective(self, data: FitData) -> Objective:
        weight = self.sparsity_weight if isinstance(self.penalty, str) else self.penalty
        return SparseCoding(self._loss_of_fit(), weight, self.transform_max_iter)

    def _initialize(self, data: FitData, n_components: int) -> Initialization:
        n_features = data.X.shape[1]
        n_nonzero = number_of_active(self.n_nonzero_coefs, n_components, n_features)
        pca = data.principal_components(min(n_nonzero, len(data.rows), n_features))
        fitted = data.fitted
        if fitted is None:
            parts = network_parts(self, data, pca, n_components, residual_to_pca=False)
            coder = make_sparse_coder(self, parts, data, n_nonzero)
            fitted = FittedAutoencoder(
                coder, torch.from_numpy(data.shift), data.scale, n_components
            )
            set_sizes(fitted, data, pca)
        return Initialization(fitted, make_pca_path(data, pca, active=True))

    def _summarize(self, trained: TrainedNetwork, data: FitData) -> FitResult:
        trained.fitted.network.n_pursuit_steps = self.transform_max_iter  # may change between fits
        codes = code_statistics(trained, data, UnitActivity)
        assert isinstance(codes, UnitActivity)
        n_free = max(codes.n_samples - 1, 1)
        scatter = codes.code_squares - codes.code_sum**2 / codes.n_samples
        variances = scatter.clip(min=0.0) / n_free
        shares = variances / max(variances.sum(), np.finfo(float).tiny)
        explained = shares * max(codes.score, 0.0) * codes.squares / n_free
        unchanged = CodeBasis(np.zeros(0), np.eye(0), explained, shares * codes.score)
        components = as_array(trained.fitted.network.decoder.directions)
        frequency = codes.n_active / codes.n_samples
        return FitResult(
            trained.fitted,
            codes,
            unchanged,
            components,
            trained.history,
            dead_units(frequency),
            {"activation_frequency_": frequency},
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not isinstance(self.penalty, str):
            if self.sparsity_weight != 1.0:
                raise ValueError(
                    "`penalty` is the former name of `sparsity_weight`: only one of them may be "
                    f"given, got {self.penalty} and {self.sparsity_weight}."
                )
            warn_user(
                "`penalty` was renamed to `sparsity_weight` in version 0.2 and will be removed in "
                f"0.4: use sparsity_weight={self.penalty}.",
                FutureWarning,
            )
        if self.whiten:
            raise ValueError(
                "`whiten` must be False for sparse codes, got True; a "
                "StandardScaler(with_mean=False) keeps their zeros."
            )
        if self.receptive_field is not None and self.image_shape is None:
            raise ValueError(
                f"`receptive_field` must be None unless `image_shape` is given, got "
                f"{self.receptive_field!r}."
            )
        for name, (default, kinds, other) in SETS_SPARSITY.items():
            if getattr(self, name) != default and self.sparsity not in kinds:
                reason = f"on how sparse codes of `sparsity`={self.sparsity!r} are; `{other}` has"
                warn_without_effect(self, name, reason)
        plain_dictionary = self.network is None and not as_tuple(self.hidden_layer_sizes)
        searchable = self.sparsity == "topk" and self.loss == "squared_error" and plain_dictionary
        if self.transform_max_iter and not searchable:
            raise ValueError(
                f"`transform_max_iter` must be 0 unless `sparsity` is 'topk', `loss` is "
                f"'squared_error' and there are no hidden layers, got {self.transform_max_iter!r}."
            )

    @property
    def dead_components_(self) -> np.ndarray:
        """Indices of the units that are active in no training row, (n_dead,)."""
        frequency = self.activation_frequency_
        return to_namespace_of(frequency, np.flatnonzero(as_numpy(frequency) == 0))

    def _starts_from_pca(self, data: FitData) -> bool:
        return False  # it has more units than PCA has components

    def _n_projection_steps(self, n_components: int) -> int:
        """None: `transform_max_iter` is the number of steps of another search, in the network."""
        return 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "penalty" in state and "sparsity_weight" not in state:  # written before version 0.2
            state = state | {"sparsity_weight": state["penalty"], "penalty": "deprecated"}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = isinstance(self.sparse_output, BOOLEANS) and not self.sparse_output
        return tags
