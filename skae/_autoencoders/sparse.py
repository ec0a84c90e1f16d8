"""The sparse autoencoder: a dictionary, often of more units than features, few of them in use."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar, cast

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import Module, Sequential
from torch.nn.functional import relu

from .._data.array_api import as_numpy, to_namespace_of
from .._data.dataset import as_array, as_tensor, blocks, dense_block
from .._data.validation import BOOLEAN, NONE, Integers, Number, OneOf, integer, parameter
from .._nn.autoencoder import Autoencoder, LayerScale, PCAPath, Scales
from .._nn.fitted import FittedAutoencoder
from .._nn.sparse import (
    SETTLED_STEPS,
    SPARSE_ACTIVATIONS,
    Dictionary,
    Silent,
    SparseCoder,
    SparseEncoder,
    Thresholded,
    TopK,
)
from .._training.diagnostics import Diagnostic
from .._training.fit_data import FitData
from .._training.loop import History, TrainingConfig
from .._training.pca import PrincipalComponents
from .._training.result import FitResult
from .._training.rotation import CodeBasis, UnitActivity
from .base import BaseAutoencoder
from .dictionary_update import refit
from .shared_parameters import FRACTION
from .sparse_init import TYPICAL_ROWS, best_factor, receptive_fields, some_rows

# Units are revived, see `_revival`, that were idle for so many times the rows that a unit would
# wait for if all had an equal share, or for so many training sets if these are fewer. Learning
# what is left over without being pulled up (Gao et al., 2024) left an eighth of 200 units dead on
# digits. Of 1024 units for 10,000 images, 16 of them active, 200 were dead in the end when a single
# row made up for all idleness, 32 when many were granted at first, and none with both.
IDLE_SHARES = 100.0
IDLE_EPOCHS = 1.0
REVIVAL = 1 / 32
WAKING = 1.5  # times the least active unit: well beyond it
TINY = 1e-3  # and above zero where none is active


@dataclass(eq=False, repr=False)
class SparseAutoencoder(BaseAutoencoder):
    """An autoencoder of many units, few of which are active in any row.

    Each unit has a direction of unit length in the space of the rows, and a row comes back as the
    mean plus the sum of a few directions, each times its code, which is never negative::

        minimise over E, b, D    sum over rows of  |x - decode(encode(x))|^2 + penalty * activity
        encode(x) = sparse(E (x - mean) + b + g(x))
        decode(code) = mean + D' code + f(code)

    The six kinds of sparsity differ in `sparse` and `activity` alone. The first three grant a
    number of active units and have no penalty; the others put a price on activity:

    ============  ==========================================  ====================================
    `sparsity`    a unit is active                            activity
    ============  ==========================================  ====================================
    "topk"        among the `n_nonzero_coefs` largest of row  none
    "batch_topk"  above one threshold for all units, such     none
                  that `n_nonzero_coefs` are in the mean
    "lifetime"    above a threshold of its own, such that     none
                  all are equally often, and
                  `n_nonzero_coefs` in the mean
    "l1"          above zero                                  the sum of the code
    "kl"          above zero                                  divergence of the units' mean logistic
                                                              activations from `n_nonzero_coefs` /
                                                              `n_components`, summed over units
    "jumprelu"    above a learned threshold of its own        the number of active units
    ============  ==========================================  ====================================

    By default there are no hidden layers: g and f are not there, and what is learned is a
    dictionary with an encoder. With hidden layers g and f start at zero beside it. With
    `tied_weights` the rows of E are those of D, each times a length that is learned.

    An encoder names the active units of a row at a glance; which few restore it best is a hard
    question, and `transform_max_iter` lets "topk" search on from there, and fit the dictionary to
    what is found. Searched codes restore rows better and are less alike for like rows: worse as
    features.

    Codes are neither centred nor rotated nor sorted. A unit that is active less than a tenth of its
    fair share, for an epoch or for 100 times the wait that would be fair, is pulled up on the row
    that it fits best, and learns what the others leave over there. "topk" begins with 16 times the
    active units and comes down to `n_nonzero_coefs` within 300 steps or a
    third of all. Each step of "lifetime" grants another part of the activity, a tenth to all of it:
    so units learn to be of use alone and together.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of units; may exceed the number of features. None is the number of features.

    sparsity : {"topk", "batch_topk", "lifetime", "l1", "kl", "jumprelu"}, default="topk"
        What makes the code sparse; see above.

    n_nonzero_coefs : int or None, default=None
        Number of active units in a row: at most for "topk", in the mean over the training rows for
        "batch_topk" and, roughly, "lifetime" and "kl". None is a tenth of the number of features,
        one at least. The size of PCA for `pca_score_`.

    penalty : float, default=1.0
        Price of activity for "l1", "kl" and "jumprelu", at least 0. Codes count in spreads of `X`
        (the root mean square of its columns' standard deviations), the error in squares of it. So
        for "l1" codes are pulled down by half the price, and for "jumprelu" a unit has to lower the
        squared error by the price.

    transform_max_iter : int, default=0
        For "topk" without hidden layers and with squared error: steps of the search for better
        units that follows the encoder wherever rows are encoded. 0 is the encoder alone; 3 find
        most of what there is to find. If there are any, `fit` ends with up to five least-squares
        fits of the dictionary to searched codes, as long as held-out rows come back better.

    receptive_field : int, float in (0, 1) or None, default=None
        For images (`image_shape`): height and width of the window of pixels that a unit sees and
        restores, in all channels; a float is a share of those of the image. Units stand for parts
        of images then, which can be better features. Windows overlap, and there are more of them
        where there is more variance; g and f see whole images. None is no such limit.

    with_mean : bool, default=True
        Let the encoder's weights see deviations from the mean. If False, they see rows as they are,
        and learn nothing from a zero: for pixels and counts, where zero is nothing. Either way the
        first codes are the same.

    sparse_output : bool, default=False
        Let `transform` return a CSR array.

    hidden_layer_sizes : tuple of int, default=()
        Width of each hidden layer of g; f mirrors them.

    init : {"pca", "random"}, default="pca"
        Of no effect here: the dictionary begins at rows of `X`.

    whiten : bool, default=False
        Not for sparse codes; a StandardScaler(with_mean=False) keeps their zeros.

    {shared_parameters}

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        The dictionary: a direction of unit length for each unit.
    explained_variance_ : ndarray of shape (n_components_,)
        The explained variance, in squared units of `X`, shared out in proportion to the variance of
        each code.
    pca_score_ : float
        The `score` of PCA on the training rows at the same size of code. That is, with
        `n_nonzero_coefs` components.
    activation_frequency_ : ndarray of shape (n_components_,)
        Share of the training rows in which each unit is active.
    dead_components_ : ndarray of shape (n_dead,)
        Indices of the units that are active in no training row.
    {shared_attributes}

    See Also
    --------
    sklearn.decomposition.MiniBatchDictionaryLearning : A dictionary without an encoder: codes are
        searched for each row.
    AutoencoderTransformer : Few components, all in use.

    Notes
    -----
    One class for six kinds, as they share all but two lines of arithmetic, and `n_nonzero_coefs`
    or `penalty` mean the same in each kind that has them.

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

    n_components: int | None = parameter(None, integer(1), NONE)
    _: KW_ONLY
    hidden_layer_sizes: tuple[int, ...] = parameter((), Integers())
    sparsity: str = parameter("topk", OneOf(tuple(SPARSE_ACTIVATIONS)))
    n_nonzero_coefs: int | None = parameter(None, integer(1), NONE)
    penalty: float = parameter(1.0, Number(Real, 0))
    transform_max_iter: int = parameter(0, integer(0))
    receptive_field: int | float | None = parameter(None, integer(1), FRACTION, NONE)
    with_mean: bool = parameter(True, BOOLEAN)
    sparse_output: bool = parameter(False, BOOLEAN)

    _codec: ClassVar[type[FittedAutoencoder]] = FittedAutoencoder
    _moments: ClassVar[type] = UnitActivity

    def _loss(self, network: Autoencoder, x: Tensor, noise: torch.Generator) -> Tensor:
        if not isinstance(network, SparseCoder):  # hidden layers in pretraining are not sparse
            return self._reconstruction.loss(network.decode(network.encode(x)), x)
        sparsity, pre_activation = network.encoder.sparsity, network.pre_activation(x)
        code = sparsity(pre_activation)
        raw = network.decode(code)
        loss = self._reconstruction.loss(raw, x) + self.penalty * sparsity.charge(
            pre_activation, code
        )
        left_over = x - self._reconstruction.mean(raw)
        return (
            loss + _revival(network, pre_activation, code, left_over) if network.training else loss
        )

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

        def codes(rows) -> Any:
            return self._in_blocks(rows, lambda fitted, x: fitted.encode(x), self.n_components_)

        if not self.sparse_output:
            return codes(X)
        dense = (as_numpy(codes(X[rows])) for rows in blocks(X, self.n_components_, 8))
        return sparse.vstack([sparse.csr_array(block) for block in dense], format="csr")

    def _assemble(
        self, encoder: Module, decoder: Module, linear: PCAPath, scales: Scales, data: FitData
    ) -> Autoencoder:
        n_components, n_features = len(scales.codes), len(linear.mean)
        g = Silent() if self._is_plain_dictionary else Sequential(encoder, LayerScale(n_components))
        f = Silent() if self._is_plain_dictionary else Sequential(decoder, LayerScale(n_features))
        fields = self._fields(data, n_components)
        weight = some_rows(data, linear.mean, n_components, fields)
        n_nonzero = self._n_nonzero(n_components, n_features)
        sparsity = SPARSE_ACTIVATIONS[self.sparsity](n_nonzero, n_components)
        if isinstance(sparsity, TopK):
            n_steps = TrainingConfig.from_params(self, len(data.rows)).n_steps(len(data.train))
            sparsity.settled_steps = min(SETTLED_STEPS, n_steps / 3)
        max_inactive_rows = IDLE_SHARES * n_components / n_nonzero
        max_inactive_rows = min(max_inactive_rows, IDLE_EPOCHS * len(data.train))
        usual = None if self.with_mean else linear.mean + torch.from_numpy(data.shift / data.scale)
        own = torch.ones_like(weight[:, :1]) if self.tied_weights else weight.clone()
        units = SparseEncoder(own, g, sparsity, max_inactive_rows, usual, self.tied_weights)
        if usual is not None:  # so that units begin as they would from the mean
            units.bias.data = -(weight @ usual)
        dictionary = Dictionary(weight, f, fields)
        coder = SparseCoder(units, dictionary, linear, scales, self._reconstruction.link)
        coder.n_searches = self.transform_max_iter
        return coder

    def _equip(self, network: Autoencoder, data: FitData) -> None:
        if isinstance(network, SparseCoder):
            network.encoder.scale(best_factor(network, data))

    def _settle(self, fitted: FittedAutoencoder, data: FitData) -> None:
        fitted.network.n_searches = self.transform_max_iter
        if self.transform_max_iter and fitted.network.decoder.fields is None:
            refit(fitted.network, data)
        sparsity = fitted.network.encoder.sparsity
        if isinstance(sparsity, Thresholded):
            n_rows = min(len(data.rows), TYPICAL_ROWS)
            index = torch.from_numpy(np.linspace(0, len(data.rows) - 1, n_rows).astype(int))
            here = dense_block(data.X, data.rows.here(index).numpy())
            own = as_tensor(here, fitted.shift.dtype, fitted.shift.device)
            x = data.rows.gathered(index.to(own.device), [own])
            with torch.no_grad():
                pre_activation = fitted.network.pre_activation((x - fitted.shift) / fitted.scale)
            sparsity.threshold.copy_(sparsity.threshold_of(pre_activation))

    def _n_nonzero(self, n_components: int, n_features: int) -> int:
        wanted = self.n_nonzero_coefs
        return min(n_components, max(n_features // 10, 1) if wanted is None else wanted)

    def _fields(self, data: FitData, n_components: int) -> Tensor | None:
        side, deviation = self.receptive_field, data.moments.std
        if side is None or self.image_shape is None:
            return None
        return receptive_fields(self.image_shape, side, deviation, n_components)

    @property
    def _is_plain_dictionary(self) -> bool:
        """Whether there are no networks g and f."""
        return self.network is None and not self.hidden_layer_sizes

    @property
    def _starts_at_pca(self) -> bool:
        return False

    def _n_principal(self, data: FitData, size: int | float) -> int | float:
        n_features = data.X.shape[1]
        return min(self._n_nonzero(int(size), n_features), len(data.rows), n_features)

    def _code_size(self, start: PrincipalComponents) -> int:
        return self._size_for(0, start.directions.shape[1])

    def _size_for(self, n_samples: int, n_features: int) -> int:
        return n_features if self.n_components is None else int(self.n_components)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = not self.sparse_output  # CSR arrays are SciPy's
        return tags

    def _in_order(self, fitted: FittedAutoencoder, codes: Any, history: History) -> FitResult:
        n_free = max(codes.n_samples - 1, 1)
        scatter = codes.code_squares - codes.code_sum**2 / codes.n_samples
        variances = scatter.clip(min=0.0) / n_free
        shares = variances / max(variances.sum(), np.finfo(float).tiny)
        explained = shares * max(codes.score, 0.0) * codes.squares / n_free
        order = CodeBasis(
            np.zeros(0), np.eye(0), explained, shares * codes.score
        )  # no change of basis
        return FitResult(fitted, codes, order, as_array(fitted.network.decoder.directions), history)

    def _learned(self, data: FitData, result: FitResult) -> dict[str, Any]:
        n_active = cast(UnitActivity, result.codes).n_active
        frequency = n_active / result.codes.n_samples
        return super()._learned(data, result) | {"activation_frequency_": frequency}

    @property
    def dead_components_(self) -> np.ndarray:
        """Indices of the units that are active in no training row, (n_dead,)."""
        frequency = self.activation_frequency_
        return to_namespace_of(frequency, np.flatnonzero(as_numpy(frequency) == 0))

    def _collapse(self) -> Diagnostic | None:
        n_dead = self.dead_components_.shape[0]
        if not n_dead:
            return None
        return Diagnostic(
            f"{n_dead} of {self.n_components_} units are active in no training row (see "
            "`dead_components_`). Fewer `n_components`, more `n_nonzero_coefs` or a smaller "
            "`penalty` would use them."
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
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
        searchable = self.sparsity == "topk" and self.loss == "squared_error"
        if self.transform_max_iter and not (searchable and self._is_plain_dictionary):
            raise ValueError(
                f"`transform_max_iter` must be 0 unless `sparsity` is 'topk', `loss` is "
                f"'squared_error' and there are no hidden layers, got {self.transform_max_iter!r}."
            )


def _revival(
    network: SparseCoder, pre_activation: Tensor, code: Tensor, left_over: Tensor
) -> Tensor:
    """What idle units lack on the one row of the batch that drives each of them most.

    There a unit is pulled up to where it would be active, and learns what the others leave over. It
    moves idle units alone.
    """
    units = network.encoder
    units.count_idle(code, network.group)
    rows_since_active = (units.rows_since_active > units.max_inactive_rows).nonzero()[:, 0]
    if not len(rows_since_active):
        return pre_activation.new_zeros(())
    nearest, row = pre_activation[:, rows_since_active].max(0)
    least_active = torch.where(code > 0, code, torch.inf).amin(1).nan_to_num(posinf=0.0)
    missing = relu(WAKING * (least_active.detach()[row] + TINY) - nearest)
    made = nearest[:, None] * network.decoder.directions[rows_since_active]
    wrong = torch.nan_to_num(left_over.detach()[row] - made).square().sum(1)
    return (missing + REVIVAL * wrong).sum() / len(pre_activation)
