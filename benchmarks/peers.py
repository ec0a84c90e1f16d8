"""Autoencoders of other libraries: functions `fit(X, hidden, k, epochs, seed, at_epoch)`.

Each trains an autoencoder with hidden layers `hidden`, mirrored in the decoder, and `k` components
on the float32 rows `X`. It calls ``at_epoch(epoch, reconstruct)`` after each epoch if the library
allows it, else after the last one, and returns ``reconstruct``, which maps rows to rows in the same
units.

Batch sizes are the defaults of the libraries; the optimiser is Adam with a learning rate of 0.001.
Other defaults that increase the error of a library are changed, as its docstring says. All networks
have ReLUs, a linear code and a linear output (a sigmoid output was worse), unless the docstring
says otherwise.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from skae import AutoencoderTransformer

os.environ["KERAS_BACKEND"] = "torch"  # read on import of Keras

Reconstruct = Callable[[np.ndarray], np.ndarray]


def ours(X, hidden, k, epochs, seed, at_epoch, **parameters) -> Reconstruct:
    """`AutoencoderTransformer`; `epochs` of None is its default."""
    model = AutoencoderTransformer(
        k, hidden_layer_sizes=hidden, max_iter=epochs, random_state=seed, **parameters
    ).fit(X)
    at_epoch(model.n_iter_, model.reconstruct)
    return model.reconstruct


def dense(sizes: tuple[int, ...], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Dense layers of these sizes, an activation between each two."""
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


class Network(nn.Module):
    """The plain network of the methods that take a torch module."""

    def __init__(
        self,
        n_features: int,
        hidden: tuple[int, ...],
        k: int,
        activation: type[nn.Module] = nn.ReLU,
    ):
        super().__init__()
        sizes = (n_features, *hidden, k)
        self.encoder, self.decoder = dense(sizes, activation), dense(sizes[::-1], activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct."""
        return self.decoder(self.encoder(x))


def as_numpy(module: Callable[[torch.Tensor], torch.Tensor]) -> Reconstruct:
    """Convert a torch function of rows to a NumPy function."""

    def apply(X: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(X)).numpy()

    return apply


def torch_loop(X, hidden, k, epochs, seed, at_epoch, activation=nn.ReLU) -> Reconstruct:
    """A minimal training loop: Adam, 128 rows a step."""
    torch.manual_seed(seed)
    network, x = Network(X.shape[1], hidden, k, activation), torch.from_numpy(X)
    optimizer = torch.optim.Adam(network.parameters())
    reconstruct = as_numpy(network)
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(x)).split(128):
            batch = x[rows]
            optimizer.zero_grad()
            nn.functional.mse_loss(network(batch), batch).backward()
            optimizer.step()
        at_epoch(epoch, reconstruct)
    return reconstruct


def skorch(X, hidden, k, epochs, seed, at_epoch) -> Reconstruct:
    """`NeuralNetRegressor` with Adam, trained on all rows; the default holds out a fifth."""
    from skorch import NeuralNetRegressor
    from skorch.callbacks import Callback

    class AtEpoch(Callback):
        def on_epoch_end(self, net, **kwargs):
            at_epoch(len(net.history), net.predict)

    torch.manual_seed(seed)
    net = NeuralNetRegressor(
        Network,
        module__n_features=X.shape[1],
        module__hidden=hidden,
        module__k=k,
        optimizer=torch.optim.Adam,
        lr=0.001,  # the default, 0.01, is for the default SGD
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[AtEpoch()],
        verbose=0,
    ).fit(X, X)
    return net.predict


def keras(X, hidden, k, epochs, seed, at_epoch) -> Reconstruct:
    """`Model.fit` on the torch backend; 32 rows a step and Adam's 0.001 are its defaults."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    stack = [layers.Input((X.shape[1],))]
    stack += [layers.Dense(n, "relu") for n in hidden] + [layers.Dense(k)]
    stack += [layers.Dense(n, "relu") for n in hidden[::-1]] + [layers.Dense(X.shape[1])]
    model = keras.Sequential(stack)
    model.compile("adam", "mse")

    def reconstruct(X: np.ndarray) -> np.ndarray:
        return model.predict(X, verbose=0)

    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: at_epoch(epoch + 1, reconstruct)
    )
    model.fit(X, X, epochs=epochs, verbose=0, callbacks=[callback])
    return reconstruct


def pyod(X, hidden, k, epochs, seed, at_epoch) -> Reconstruct:
    """`AutoEncoder`, 32 rows a step, without its dropout, batch normalisation and scaling.

    Dropout of 0.2 and batch normalisation increase the error, and the scaling divides by almost
    zero where a pixel is constant in the training set. The code is the output of a ReLU. The scores
    of the training rows, which `fit` computes at the end, are not timed.
    """
    from pyod.models.auto_encoder import AutoEncoder

    class Observed(AutoEncoder):
        epoch = 0

        def epoch_update(self):
            self.epoch += 1
            at_epoch(self.epoch, reconstruct)
            self.model.train()

    def reconstruct(X: np.ndarray) -> np.ndarray:
        return as_numpy(detector.model.eval())(X)

    detector = Observed(
        hidden_neuron_list=[*hidden, k],
        epoch_num=epochs,
        preprocessing=False,
        batch_norm=False,
        dropout_rate=0.0,
        random_state=seed,
        verbose=0,
    )
    detector.fit(X)
    return reconstruct


def pythae(X, hidden, k, epochs, seed, at_epoch) -> Reconstruct:
    """`AE` through `TrainingPipeline`, 64 rows a step; its default step size, 0.0001, is worse."""
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.layers = dense((X.shape[1], *hidden, k))

        def forward(self, x):
            return ModelOutput(embedding=self.layers(x))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = dense((k, *hidden[::-1], X.shape[1]))

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z))

    class AtEpoch(TrainingCallback):
        epoch = 0

        def on_epoch_end(self, training_config, **kwargs):
            self.epoch += 1
            at_epoch(self.epoch, reconstruct)

    def reconstruct(X: np.ndarray) -> np.ndarray:
        return as_numpy(model.eval().reconstruct)(X)

    logging.disable(logging.INFO)
    torch.manual_seed(seed)
    model = AE(AEConfig(input_dim=(X.shape[1],), latent_dim=k), Encoder(), Decoder())
    # The progress bar of each epoch has no switch.
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        config = BaseTrainerConfig(folder, num_epochs=epochs, learning_rate=0.001, seed=seed)
        TrainingPipeline(model, config)(X, callbacks=[AtEpoch()])
    return reconstruct


def mlp_regressor(X, hidden, k, epochs, seed, at_epoch) -> Reconstruct:
    """`MLPRegressor(X, X)`, 200 rows a step, its default; the code is the output of a ReLU."""
    from sklearn.neural_network import MLPRegressor

    sizes = (*hidden, k, *hidden[::-1])
    model = MLPRegressor(hidden_layer_sizes=sizes, random_state=seed)
    for epoch in range(1, epochs + 1):
        model.partial_fit(X, X)
        at_epoch(epoch, model.predict)
    return model.predict


PEERS = {
    "skorch": skorch,
    "Keras": keras,
    "PyOD": pyod,
    "pythae": pythae,
    "MLPRegressor": mlp_regressor,
}
METHODS = {"skae": ours, "torch loop": torch_loop} | PEERS


def warm_up(name: str) -> None:
    """Run a small fit, so that imports and the set-up of libraries are not timed."""
    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).standard_normal((200, 10), dtype=np.float32)
    METHODS[name](X, (8,), 2, 2, 0, lambda epoch, reconstruct: reconstruct(X))
