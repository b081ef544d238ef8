"""Whether XLA compiles the steps of a `fit` on a CPU: what `jit_compile="auto"` means there."""

import keras
from keras import layers

from keras_vae.devices import has_gpu, num_cores

# Matrix products and what goes with them. Of convolutions XLA's code for a CPU takes three to
# four times as long as TensorFlow's.
DENSE = {
    layers.InputLayer,
    layers.Dense,
    layers.Flatten,
    layers.Reshape,
    layers.Concatenate,
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.Dropout,
    layers.BatchNormalization,
    layers.LayerNormalization,
}
# XLA takes 0.5 to 1.5 s more before the first step, and gains 0.3 to 2 ms in each.
LONG = 2000


def pays(model: keras.Model, steps: int) -> bool:
    """Whether so many steps of a model take less time if XLA compiles them on a CPU.

    Measured on two cores, in float32, medians of five pairs: MLPs from 64 units to two layers of
    1,000 train 1.03 to 1.87 times as fast with batches of 32, 1.11 to 1.46 times with 128, 1.01
    to 1.36 with 512 and 0.99 to 1.18 with 1,024; IWAE 1.06 to 2.15 times with K = 5, 0.98 to 1.24
    with K = 50; families of likelihoods and posteriors 1.1 to 2.4 times (three pairs). In
    bfloat16 it would be slower: TensorFlow's products run on units that XLA's do not use. On one
    core it gains nothing: small products are where TensorFlow uses one of several.
    """
    several = num_cores() > 1 and not has_gpu()
    return several and steps >= LONG and all(map(_gains, model._flatten_layers()))


def _gains(layer: keras.layers.Layer) -> bool:
    module = type(layer).__module__
    ours = module.startswith("keras_vae.")
    network = module.startswith("keras.") and isinstance(layer, keras.Model)
    return (ours or network or type(layer) in DENSE) and layer.compute_dtype == "float32"
