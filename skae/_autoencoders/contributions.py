"""The contributions of features to codes."""

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._data.array_api import to_native
from .._data.device import as_tensor
from .._data.table_rows import by_column
from .._data.threads import threads_for
from .._data.torch_defaults import with_torch_defaults
from .._nn.blocks import multiply_adds
from .._nn.contributions import feature_contributions
from .._nn.fitted import FittedAutoencoder
from .inference import FittedAutoencoderMixin


class ContributionsMixin(FittedAutoencoderMixin):
    """The method that explains codes by features."""

    @with_torch_defaults
    def feature_contributions(self, X) -> np.ndarray:
        """Contribution of each feature to each component of the code of a row.

        The contributions of a row sum to the difference between its code and the code of the mean
        row: ``transform(X) - transform(mean_)``. For a linear autoencoder, the contribution of a
        feature is its entry in `components_` times its difference from its mean, as for PCA. In
        general, its difference from its mean is multiplied by an average slope:

        - The slope of the encoder is averaged on the straight line from the mean row to the row.
          The results are integrated gradients [1]_.
        - If `transform_max_iter` is not 0, the slope is that of the least-squares code. For this
          code, the decoder is replaced by a linear one with the slopes of the decoder, averaged
          between the codes of both rows.

        The sums are exact: the difference that the averages do not explain is divided among the
        features in proportion to the absolute values of their contributions. So a feature that is
        equal to its mean, or that has no influence on the code, contributes 0.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            Rows. Missing values (NaN) contribute 0. If there are any, they are also missing in the
            mean row.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_components_, n_features)
            The contributions, in the units of the codes.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `X` is not as in `fit`.

        References
        ----------
        .. [1] M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution for deep networks", ICML,
           2017.
        """
        check_is_fitted(self)
        X = self._validated(X)

        def contributions(fitted: FittedAutoencoder, x: Tensor) -> Tensor:
            mean = as_tensor(to_native(self.mean_), x.dtype, x.device)
            return feature_contributions(fitted, x, mean=mean)

        width = X.shape[1]
        # More multiplications than these are hardly needed: one derivative for each feature.
        with threads_for(float(multiply_adds(self.network_)) * X.shape[0] * width):
            found = self._apply(X, contributions, self.n_components_ * width).reshape(-1, width)
        return by_column(self, found).reshape(-1, self.n_components_, self.n_features_in_)
