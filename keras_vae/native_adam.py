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

    What is the same for all variables is computed once, as each operation of TensorFlow costs some
    microseconds, however small it is: in bfloat16 a step is 1.08 times as fast.

    Only how the object updates changes: its learning rate, state, configuration and
    all that Keras does around the update stay. Other optimizers are left as they are; of one
    that scales the loss, as float16 needs it, it is the one inside.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if type(optimizer) in SAME_UPDATE and not optimizer.amsgrad:
        optimizer.update_step = functools.partial(_update, optimizer)
        optimizer._backend_update_step = functools.partial(_update_all, optimizer)


def _update_all(
    optimizer: keras.optimizers.Adam,
    gradients: list[tf.Tensor],
    variables: list[tf.Variable],
    learning_rate: tf.Tensor,
) -> None:
    """Keras calls `_update` for each variable, with lr, b1^t and b2^t in the place of lr."""
    dtype = variables[0].dtype
    step = tf.cast(optimizer.iterations + 1, dtype)
    betas = (optimizer.beta_1, optimizer.beta_2)
    powers = [tf.pow(tf.cast(beta, dtype), step) for beta in betas]
    rates = tf.stack([tf.cast(learning_rate, dtype), *powers])
    type(optimizer)._backend_update_step(optimizer, gradients, variables, rates)


def _update(
    optimizer: keras.optimizers.Adam,
    gradient: tf.Tensor,
    variable: tf.Variable,
    rates: tf.Tensor,
) -> None:
    """`w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)`."""
    index = optimizer._get_variable_index(variable)
    dtype = variable.dtype
    learning_rate, beta1_power, beta2_power = tf.unstack(tf.cast(rates, dtype))
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=beta1_power,
        beta2_power=beta2_power,
        lr=learning_rate,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
    )
