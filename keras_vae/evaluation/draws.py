"""Draws of z that depend on the seed and the number of their row, never on the rows beside it."""

import tensorflow as tf

from keras_vae.randomness import stateless_seed
from keras_vae.vae import VAE

DRAWS_AT_ONCE = 250  # draws of z for each row in one call of the decoder


def blocks(num_samples: int) -> list[int]:
    """K cut into calls of the decoder: so many draws of each row at once, the rest last."""
    whole, rest = divmod(num_samples, DRAWS_AT_ONCE)
    return [DRAWS_AT_ONCE] * whole + [rest] * (rest > 0)


def seed_of_row(seed: int, number: tf.Tensor) -> tf.Tensor:
    """A stateless seed `[2]` for a row's number."""
    high_and_low = tf.reverse(stateless_seed(tf.constant(seed, tf.int64)), [0])
    return tf.random.fold_in(high_and_low, number)


def seeds_of_rows(seed: int, numbers: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
    """A stateless seed for each row's draws of one block, `[B, 2]`."""
    one = lambda number: tf.random.fold_in(seed_of_row(seed, number), block)  # noqa: E731
    return tf.map_fn(one, numbers, fn_output_signature=tf.TensorSpec((2,), tf.int32))


def draws(
    vae: VAE, parameters: dict[str, tf.Tensor], count: int, seeds: tf.Tensor, copies: int = 1
) -> tf.Tensor:
    """K draws z ~ q(z|x) of each row with its own seed, `[K, copies * B, D]`.

    Copies of a row share its seed. Drawn row by row: no draw depends on the rows beside it.
    """
    size = vae.prior.latent_size
    by_row = {k: tf.reshape(v, (-1, copies, *v.shape[1:])) for k, v in parameters.items()}
    z = tf.map_fn(
        lambda row: vae.posterior.distribution(row[0]).sample(count, seed=row[1]),
        (by_row, seeds),
        fn_output_signature=tf.TensorSpec((count, copies, size), vae.density_dtype),
    )
    return tf.reshape(tf.transpose(z, (1, 0, 2, 3)), (count, -1, size))
