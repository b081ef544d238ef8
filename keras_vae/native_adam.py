"""Adam as one TensorFlow kernel per variable."""

import functools

import keras
import tensorflow as tf

# Of these the update is Adam's own; what surrounds it (decay, clipping, averages) stays Keras's.
SAME_UPDATE = (keras.optimizers.Adam, keras.optimizers.AdamW)


def use_native_adam(optimizer: keras.optimizers.Optimizer) -> None:
    """Lets an Adam update each variable in one pass, as TensorFlow's own kernel does.

    Keras writes the same formula as eleven operations, each of which reads and writes a
    tensor of the variable's size. On the network 784-400-20-400-784 (two cores, batch 128)
    a whole step takes 4.0 ms with the kernel and 5.3 without.

    Only the object's `update_step` changes: its learning rate, state, configuration and
    all that Keras does around the update stay. Other optimizers are left as they are; of one
    that scales the loss, as float16 needs it, it is the one inside.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if type(optimizer) in SAME_UPDATE and not optimizer.amsgrad:
        optimizer.update_step = functools.partial(_update, optimizer)


def _update(
    optimizer: keras.optimizers.Adam,
    gradient: tf.Tensor,
    variable: tf.Variable,
    learning_rate: tf.Tensor,
) -> None:
    """`w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)`."""
    index = optimizer._get_variable_index(variable)
    dtype = variable.dtype
    step = tf.cast(optimizer.iterations + 1, dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=tf.pow(tf.cast(optimizer.beta_1, dtype), step),
        beta2_power=tf.pow(tf.cast(optimizer.beta_2, dtype), step),
        lr=tf.cast(learning_rate, dtype),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
    )
