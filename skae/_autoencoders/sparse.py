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
from .._losses.reconstruction import LOSSES, ReconstructionLoss
from .._nn.autoencoder import Autoencoder
from .._nn.fitted import FittedAutoencoder
from .._nn.sparse_activations import SPARSE_ACTIVATIONS
from .._nn.sparse_coder import SparseCoder
from .._training.fit_data import FitData
from .._training.initialization import Initialization, make_pca_path
from .._training.objective import Objective
from .._training.result import Diagnostic, FitResult, TrainedNetwork, code_statistics
from .._training.rotation import CodeBasis, UnitActivity
from .base import BaseAutoencoder
from .dictionary_update import method_of_optimal_directions
from .revival import revival_loss
from .sparse_init import calibrate_thresholds, make_sparse_coder

# The parameters of the class that training does not change.
OF_NETWORK = ("sparsity", "n_nonzero_coefs", "receptive_field", "with_mean")


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

    Each unit has a direction of unit length in the space of the rows. The reconstruction of a row
    is the mean plus a sum of few directions, each times its code, which is never negative::

        minimise over E, b, D    sum over rows of  |x - decode(encode(x))|^2 + weight * penalty
        encode(x) = sparse(E (x - mean) + b + g(x))
        decode(code) = mean + D' code + f(code)

    The six kinds of sparsity differ in `sparse` and `penalty` only. The first three fix the number
    of active units and have no penalty; the others penalise activity, with `sparsity_weight`:

    ============  ==========================================  ====================================
    `sparsity`    a unit is active                            penalty
    ============  ==========================================  ====================================
    "topk"        among the `n_nonzero_coefs` largest of row  none
    "batch_topk"  above one threshold for all units, such     none
                  that `n_nonzero_coefs` are on average
    "lifetime"    above a threshold of its own, such that     none
                  all are equally often, and
                  `n_nonzero_coefs` on average
    "l1"          above zero                                  the sum of the code
    "kl"          above zero                                  divergence of the units' mean logistic
                                                              activations from `n_nonzero_coefs` /
                                                              `n_components`, summed over units
    "jumprelu"    above a learned threshold of its own        the number of active units
    ============  ==========================================  ====================================

    By default there are no hidden layers: g and f are absent, and a dictionary with a linear
    encoder is learned. With hidden layers g and f start at zero. With `tied_weights` the rows of E
    are those of D, each times a learned length.

    The encoder only approximates the best active units of a row. With `transform_max_iter`, "topk"
    continues with a search for better ones, and the dictionary is fitted to the codes that the
    search finds. Such codes reconstruct rows better, but differ more between similar rows: they
    are worse features.

    Codes are neither centred nor rotated nor sorted. A unit that is active in less than a tenth of
    its share of the rows, for an epoch or for 100 times the expected waiting time, is revived: it
    is trained on the residual of the row for which its pre-activation is largest. "topk" starts
    with 16 times as many active units and decreases to `n_nonzero_coefs` within 300 steps or a
    third of all steps. Each step of "lifetime" activates a different fraction of that share,
    between a tenth and all of it, so that units are useful alone and together.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of units; may exceed the number of features. None is the number of features.

    sparsity : {"topk", "batch_topk", "lifetime", "l1", "kl", "jumprelu"}, default="topk"
        How the code is made sparse; see above.

    n_nonzero_coefs : int or None, default=None
        Number of active units in a row: at most for "topk", on average over the training rows for
        "batch_topk" and, roughly, "lifetime" and "kl". None is a tenth of the number of features,
        at least one. Also the number of principal components for `pca_score_`.

    sparsity_weight : float, default=1.0
        Weight of the penalty for "l1", "kl" and "jumprelu", at least 0. Codes are measured in units
        of the root mean square of the columns' standard deviations, the squared error in units of
        its square. So "l1" shrinks codes by half the weight, and for "jumprelu" a unit has to lower
        the squared error by the weight.

    transform_max_iter : int, default=0
        For "topk" without hidden layers and with squared error: number of steps of the search for
        better units that follows the encoder wherever rows are encoded. 0 uses the encoder only; 3
        steps find most improvements. If it is above 0, `fit` ends with up to five least-squares
        updates of the dictionary for these codes, as long as the error of held-out rows decreases.

    receptive_field : int, float in (0, 1) or None, default=None
        For images (`image_shape`): height and width of the window of pixels that a unit reads and
        reconstructs, in all channels; a float is a share of those of the image. Units then
        represent parts of images, which can be better features. Windows overlap, and there are more
        of them where there is more variance; g and f read whole images. None is no such limit.

    with_mean : bool, default=True
        Whether the encoder's weights multiply deviations from the mean. If False, they multiply
        rows as they are, and zeros have no effect on their gradient: for pixels and counts. The
        codes before training are the same in both cases.

    sparse_output : bool, default=False
        Whether `transform` returns a CSR array.

    penalty : float, default="deprecated"
        Former name of `sparsity_weight`.

        .. deprecated:: 0.2
           Use `sparsity_weight`; `penalty` will be removed in version 0.4.

    hidden_layer_sizes : tuple of int, default=()
        Width of each hidden layer of g; f has the same in reverse order.

    init : {"pca", "random"}, default="pca"
        Has no effect: the dictionary is initialised with rows of `X`.

    whiten : bool, default=False
        Must be False; a StandardScaler(with_mean=False) keeps zeros.

    {shared_parameters}

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        The dictionary: for each unit a direction of unit length.
    explained_variance_ : ndarray of shape (n_components_,)
        The explained variance, in squared units of `X`, divided among the units in proportion to
        the variance of their codes.
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

    Notes
    -----
    The six kinds are one class because they share all but two lines of arithmetic, and
    `n_nonzero_coefs` and `sparsity_weight` have the same meaning for each kind that uses them.

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
            Rows; NaN means "not observed".

        Returns
        -------
        codes : ndarray or CSR array of shape (n_samples, n_components_)
            In the dtype of `X`; a CSR array if `sparse_output`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
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
        return SparseCoding(LOSSES[self.loss], weight, self.transform_max_iter)

    def _initialize(self, data: FitData, n_components: int) -> Initialization:
        n_features = data.X.shape[1]
        n_nonzero = self._n_nonzero(n_components, n_features)
        pca = data.principal_components(min(n_nonzero, len(data.rows), n_features))
        fitted = data.fitted
        if fitted is None:
            parts = self._network_parts(data, pca, n_components, residual_to_pca=False)
            coder = make_sparse_coder(self, parts, data, n_nonzero)
            fitted = FittedAutoencoder(
                coder, torch.from_numpy(data.shift), data.scale, n_components
            )
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
            _dead_units(frequency),
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

    def _n_projection_steps(self, n_components: int) -> int:
        """None: `transform_max_iter` is the number of steps of another search, in the network."""
        return 0

    def _n_nonzero(self, n_components: int, n_features: int) -> int:
        given = self.n_nonzero_coefs
        return min(n_components, max(n_features // 10, 1) if given is None else given)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "penalty" in state and "sparsity_weight" not in state:  # written before version 0.2
            state = state | {"sparsity_weight": state["penalty"], "penalty": "deprecated"}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = isinstance(self.sparse_output, BOOLEANS) and not self.sparse_output
        return tags


def _dead_units(activation_frequency: np.ndarray) -> Diagnostic | None:
    """Units that are active in no training row."""
    n_dead = int(np.sum(activation_frequency == 0))
    if not n_dead:
        return None
    return Diagnostic(
        f"{n_dead} of {len(activation_frequency)} units are active in no training row (see "
        "`dead_components_`). Fewer `n_components`, more `n_nonzero_coefs` or a smaller "
        "`sparsity_weight` would use them."
    )
