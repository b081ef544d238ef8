"""Whether XLA compiles the steps of a `fit` on a CPU: what `jit_compile="auto"` means there."""

import keras
from keras import layers
from tensorflow.python.framework.config import is_op_determinism_enabled  # as Keras asks

from keras_vae.devices import has_gpu, num_cores
from keras_vae.objectives import ELBO, IWAE

# Matrix products and what goes with them. Of convolutions XLA's code for a CPU takes three to
# four times as long as TensorFlow's; and Keras's dropout names no generator (`randomness`).
DENSE = {
    layers.InputLayer,
    layers.Dense,
    layers.Flatten,
    layers.Reshape,
    layers.Concatenate,
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.BatchNormalization,
    layers.LayerNormalization,
}
BOUNDS = {ELBO, IWAE}  # others have not been measured
# XLA takes 0.5 to 1.5 s more before the first step, and gains 0.3 to 2 ms in each.
LONG = 2000
ROWS = 512  # of z in a step; of more it gains little or nothing


def pays(model: keras.Model, steps: int, batch_size: int) -> bool:
    """Whether XLA is to compile the steps of a `fit` on a CPU.

    Measured on two cores, in float32, medians of five pairs: MLPs from 64 units to two layers of
    1,000 train 1.03 to 1.87 times as fast with batches of 32, 1.11 to 1.46 times with 128, 1.01
    to 1.36 with 512 and 0.99 to 1.18 with 1,024; IWAE 1.06 to 2.15 times with K = 5, 0.98 to 1.24
    with K = 50; families of likelihoods and posteriors 1.1 to 2.4 times (three pairs). In
    bfloat16 it would be slower: TensorFlow's products run on units that XLA's do not use. On one
    core it gains nothing: small products are where TensorFlow uses one of several.

    Args:
        model: a VAE.
        steps: of all epochs, those before `initial_epoch` too: a `fit` that goes on where
            another has stopped has the draws of the whole.
        batch_size: B.
    """
    few = batch_size * model.objective.num_samples <= ROWS
    if steps < LONG or not few or num_cores() < 2 or has_gpu():
        return False
    # Where Keras leaves XLA out under "auto", too; a strategy also if it has one replica.
    if model._distribute_strategy is not None or is_op_determinism_enabled():
        return False
    return type(model.objective) in BOUNDS and all(map(_gains, model._flatten_layers()))


def _gains(layer: keras.layers.Layer) -> bool:
    ours = type(layer).__module__.startswith("keras_vae.")
    dense = ours or _is_network(layer) or type(layer) in DENSE
    return dense and layer.supports_jit and layer.compute_dtype == "float32"


def _is_network(layer: keras.layers.Layer) -> bool:
    """Whether it is a model of Keras's of layers alone, each of which is asked for itself."""
    if type(layer) is keras.Sequential:
        return True
    functional = type(layer).__module__.startswith("keras.") and isinstance(layer, keras.Model)
    return functional and all(isinstance(o, layers.Layer) for o in layer.operations)
