"""A class that is observed for some rows and a latent variable for the others."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import is_real
from keras_vae.conditions.condition import Cases, Condition, Given
from keras_vae.conditions.one_hot import check_classes


@keras.saving.register_keras_serializable(package="keras_vae")
class Labels(Condition):
    """The class c of x, known for some rows and summed over for the others (the model M2).

    With L(x, c) the bound on log p(x, c) of the conditional model, p(c) = 1 / C:

    - a labelled row: `log p(x, c) >= L(x, c) + log p(c)`;
    - an unlabelled row: `log p(x) >= sum_c q(c|x) [L(x, c) + log p(c) - log q(c|x)]`.

    `q(c|x)` is a classifier. Labelled rows do not enter it through the bound, so
    `-weight log q(c|x)` is added to their loss (not to the bound). The sum over C classes
    makes a step cost C times that of a model without labels. `accuracy` is logged: of the
    classifier, on the labelled rows, NaN where there is none.

    Args:
        size: C, the number of classes.
        classifier: any Keras model, x `[B, ...]` as the encoder is given it, without the
            condition -> features.
        weight: of the classification loss; Kingma et al. take 0.1 times the number of rows
            over the number of labelled rows.

    Call: integers `[B]`, -1 where there is no label.

    Raises:
        ValueError: if an argument is out of range, or when a value is no class.

    Example:
        labels = keras_vae.conditions.Labels(10, keras_vae.networks.mlp([500]), weight=50.0)
        keras_vae.VAE(..., condition=labels).fit(x, y)  # y is -1 where there is no label

    References: D. P. Kingma, D. J. Rezende, S. Mohamed and M. Welling, Semi-Supervised
    Learning with Deep Generative Models, NeurIPS 2014.
    """

    optional = True

    def __init__(
        self,
        size: int,
        classifier: keras.layers.Layer,
        weight: float = 1.0,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(size, name=name, dtype=dtype, trainable=trainable)
        if not isinstance(classifier, keras.layers.Layer):
            raise TypeError(
                "`classifier` of Labels is a network of x. Expected: a Keras model, such as "
                f"keras_vae.networks.mlp([500]). Received: {classifier!r}."
            )
        if not (is_real(weight) and weight >= 0):
            raise ValueError(
                "`weight` of Labels is that of the classification loss. Expected: a number "
                f">= 0. Received: {weight!r}."
            )
        self.classifier = classifier
        self.weight = float(weight)
        self.logits = keras.layers.Dense(self.size, name="logits", dtype=self.density_dtype)
        self.accuracy = _Accuracy(name="accuracy")

    def build(self, x_shape: tuple[int | None, ...]) -> None:
        features = keras.layers.Flatten()(self.classifier(keras.KerasTensor(x_shape)))
        self.logits.build(features.shape)
        self.built = True

    def log_probs(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """log q(c|x), `[B, C]`, from what the encoder is given of x."""
        features = self.classifier(inputs, training=training)
        features = tf.reshape(features, (tf.shape(features)[0], -1))
        return tf.nn.log_softmax(self.logits(features))

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tf.cast(values, tf.int32), self.size, dtype=self.density_dtype)

    def cases(
        self,
        x: tf.Tensor,
        inputs: tf.Tensor,
        given: Given,
        sample_weight: tf.Tensor | None,
        training: bool,
    ) -> Cases:
        log_q = self.log_probs(inputs, training)  # [B, C]
        none = tf.fill(tf.shape(log_q)[:1], -1)
        labels = none if given.condition is None else tf.cast(given.condition, tf.int32)
        known = labels >= 0
        one_hot = self(labels)  # zeros where there is no label
        probs = tf.where(known[:, None], one_hot, tf.exp(log_q))
        # Times C, because the mean is then taken over C * B rows.
        weight = tf.constant(self.size, probs.dtype) * probs
        if sample_weight is not None:
            weight *= tf.cast(sample_weight, weight.dtype)[:, None]
        surprise = -tf.reduce_sum(one_hot * log_q, 1)  # 0 where there is no label
        count = tf.shape(labels)[0]
        size_factor = given.size_factor
        rows = Given(
            condition=tf.tile(tf.eye(self.size, dtype=log_q.dtype), (count, 1)),
            size_factor=None if size_factor is None else tf.repeat(size_factor, self.size),
            log_prior=-tf.math.log(tf.constant(self.size, log_q.dtype)),
            log_posterior=tf.reshape(tf.where(known[:, None], tf.zeros_like(log_q), log_q), (-1,)),
            loss=self.weight * tf.repeat(surprise, self.size),
        )
        counted = tf.where(known, 1.0 if sample_weight is None else sample_weight, 0.0)
        right = tf.argmax(log_q, 1, tf.int32) == labels
        return Cases(
            x=tf.repeat(x, self.size, 0),
            given=rows,
            sample_weight=tf.reshape(weight, (-1,)),
            copies=self.size,
            log_weight=tf.reshape(tf.where(known[:, None], tf.math.log(one_hot), log_q), (-1,)),
            track=lambda: self.accuracy.update_state(right, sample_weight=counted),
        )

    def inferred(self, values: tf.Tensor | None, inputs: tf.Tensor) -> tf.Tensor:
        guessed = tf.argmax(self.log_probs(inputs), 1, tf.int32)
        if values is None:
            return guessed
        values = tf.cast(values, tf.int32)
        return tf.where(values >= 0, values, guessed)

    def drawn(self, num: int, seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform((num,), seed, 0, self.size, tf.int32)

    def trackers(self) -> list[keras.metrics.Metric]:
        return [self.accuracy]

    def check(self, values: np.ndarray, argument: str = "condition") -> None:
        check_classes(values, self.size, -1, argument)

    def check_known(self, values: np.ndarray) -> None:
        check_classes(values, self.size, 0, "condition")

    def contains(self, values: tf.Tensor) -> tf.Tensor:
        values = tf.cast(values, self.density_dtype)
        return tf.reduce_all((values >= -1) & (values < self.size) & (values == tf.floor(values)))

    def statement(self) -> str:
        return (
            f"Each density is conditional on a class c of {self.size}, p(c) = 1/{self.size}. Where "
            "it is known the bound is one on log p(x, c): L(x, c) + log p(c), L the bound below. "
            "Where it is not, c is a latent variable:\n\n"
            r"$$ \log p(x) \geq \sum_c q(c|x)\,[L(x, c) + \log p(c) - \log q(c|x)] $$"
            "\n\nThe mean that is logged is over rows of both kinds. What is minimised has, beside "
            f"minus the bound, {self.weight:g} times -log q(c|x) of the known classes."
        )

    def describe(self) -> str:
        return f"a class of {self.size}, -1 where it is not known"

    def get_config(self) -> dict:
        classifier = keras.saving.serialize_keras_object(self.classifier)
        return {**super().get_config(), "classifier": classifier, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict) -> "Labels":
        classifier = keras.saving.deserialize_keras_object(config["classifier"])
        return cls(**{**config, "classifier": classifier})


class _Accuracy(keras.metrics.Mean):
    """The share that is right, NaN of nothing: Keras's is 0, as if all were wrong."""

    def result(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.total) / tf.convert_to_tensor(self.count)
