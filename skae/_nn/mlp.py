"""Dense encoders and decoders."""

import math
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from torch import Generator, Tensor, nn

from .custom_layers import LayerScale, SoftClip, TransposedLinear, Whitening
from .layers import ACTIVATIONS

Layer = TypeVar("Layer", bound=nn.Module)

# In raw data some rows lie 10 or 50 standard deviations out, where a network extrapolates with the
# slope of the outermost training rows: some unseen rows had errors hundreds of times those of PCA.
# Hard clipping at two also prevents that, but maps such rows to the same input.
INPUT_LIMIT = 2.0
# For projected codes neither is needed. But single rows may be far out in one of many components:
# on one set with 32 components the error with this limit is .39 of PCA's, else .68.
MANY_CODES_LIMIT, MAX_UNLIMITED_CODES = 10.0, 8
# Beside PCA, the encoder changes a code by about the size of PCA's residual (see `Scales`), and
# seldom by more: an encoder without a limit used features that were missing in its training rows.
DELTA_LIMIT = 1.0


def mlp(
    sizes: tuple[int, ...],
    activation: str,
    rng: Generator,
    output_gain: float = 1.0,
    *,
    limit: float = INPUT_LIMIT,
) -> nn.Sequential:
    """Dense layers of these sizes with the activation between them.

    Without a hidden layer the network is linear; else its inputs are clipped softly at a finite
    limit. With a gain of zero its output is zero before training.
    """
    *hidden, n_out = sizes
    clips = math.isfinite(limit) and len(sizes) > 2
    layers: list[nn.Module] = [SoftClip(limit)] if clips else []
    for n_in, n_units in pairwise(hidden):
        # Random biases distribute the bends of the hidden units over the range of the inputs.
        layers += [dense_layer(n_in, n_units, rng, 1.0, 0.3), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, dense_layer(hidden[-1], n_out, rng, output_gain, 0.0))


def dense_layer(n_in: int, n_out: int, rng: Generator, gain: float, bias_std: float) -> nn.Linear:
    """A dense layer with random weights; `gain` is the ratio of output to input size."""
    layer = skip_init(nn.Linear, n_in, n_out)
    nn.init.normal_(layer.weight, std=gain * n_in**-0.5, generator=rng)
    nn.init.normal_(layer.bias, std=bias_std, generator=rng)
    return layer


def skip_init(cls: type[Layer], *sizes: int, **options: Any) -> Layer:
    """A layer of torch with uninitialised parameters.

    Its initialisation would use torch's global generator. `torch.nn.utils.skip_init` does the same
    on the device "meta", where an initialisation that is then thrown away takes longer.
    """
    blank = _without_initialization(cls)  # type: ignore[arg-type]
    layer = blank(*sizes, **options, device="cpu")
    layer.__class__ = cls
    return layer


@cache
def _without_initialization(cls: type[Layer]) -> type[Layer]:
    """A subclass whose constructor does not initialise the parameters."""
    return type(f"Blank{cls.__name__}", (cls,), {"reset_parameters": lambda _: None})


def mlp_encoder_decoder(
    sizes: tuple[int, ...],
    activation: str,
    rng: Generator,
    *,
    residual_to_pca: bool,
    whitening: Tensor | None = None,
    n_heads: int = 1,
    layer_scale: bool = False,
    clipped: bool = True,
) -> tuple[nn.Module, nn.Module]:
    """An encoder of these layer sizes and the decoder that mirrors it.

    Beside PCA both return zeros before training: because of weights of zero in the last layers, or
    with `layer_scale` because of scales of zero, so that the weights can be pretrained. With a
    `whitening` matrix, (n_features, n_whitened), the encoder starts with it. The encoder has
    `n_heads` outputs for each component. If `clipped`, inputs and changes of PCA's code are
    limited softly, else only codes of many components.
    """
    gain = 0.0 if residual_to_pca and not layer_scale else 1.0
    n_inputs = sizes[0] if whitening is None else whitening.shape[1]
    shape = (n_inputs, *sizes[1:-1], n_heads * sizes[-1])
    encoder = mlp(shape, activation, rng, gain, limit=INPUT_LIMIT if clipped else math.inf)
    limit = INPUT_LIMIT
    if not clipped:
        limit = MANY_CODES_LIMIT if sizes[-1] > MAX_UNLIMITED_CODES else math.inf
    decoder = mlp(sizes[::-1], activation, rng, gain, limit=limit)
    if residual_to_pca and layer_scale:
        append_layer_scales(encoder, n_heads * sizes[-1], decoder, sizes[0])
    elif residual_to_pca and clipped and len(sizes) > 2:
        encoder.append(SoftClip(DELTA_LIMIT))
    if whitening is not None:
        encoder.insert(0, Whitening(whitening))
    return encoder, decoder


def tied_encoder_decoder(
    sizes: tuple[int, ...],
    activation: str,
    rng: Generator,
    *,
    residual_to_pca: bool,
    n_heads: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """An encoder of these layer sizes, and the decoder with its matrices transposed."""
    encoder = mlp((*sizes[:-1], n_heads * sizes[-1]), activation, rng)
    layers: list[nn.Module] = [SoftClip(INPUT_LIMIT)] if len(sizes) > 2 else []
    for layer in reversed([layer for layer in encoder if isinstance(layer, nn.Linear)]):
        layers += [TransposedLinear(layer), ACTIVATIONS[activation]()]
    decoder = nn.Sequential(*layers[:-1])
    if not residual_to_pca:
        return encoder, decoder
    return append_layer_scales(encoder, n_heads * sizes[-1], decoder, sizes[0])


def append_layer_scales(
    encoder: nn.Sequential, n_outputs: int, decoder: nn.Sequential, n_features: int
) -> tuple[nn.Module, nn.Module]:
    """Append scales of zero to both, where the last weights cannot be zero."""
    encoder.extend([LayerScale(n_outputs), SoftClip(DELTA_LIMIT)])
    return encoder, decoder.append(LayerScale(n_features))


def has_whitening(encoder: nn.Module) -> bool:
    """Whether the first layer of an encoder is a whitening."""
    return isinstance(next(encoder.children(), None), Whitening)


def merge_whitening(encoder: nn.Module) -> nn.Module:
    """The same function with fewer multiplications, if there is one: not for training.

    The whitening and the dense layer after it become one layer.
    """
    match list(encoder.children()):
        case [Whitening(matrix=white), nn.Linear() as dense, *layers]:
            (n_features, n_white), n_units = white.shape, dense.out_features
            if n_features * n_units < n_white * (n_features + n_units):
                merged = skip_init(nn.Linear, n_features, n_units)
                merged.weight = nn.Parameter(dense.weight.detach() @ white.mT)
                merged.bias = dense.bias
                return nn.Sequential(merged, *layers)
    return encoder
