"""q(z|x) of choices, drawn as they are."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.groups import Groups
from keras_vae.latents import groups_of, one_hots
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class OneHot(Posterior):
    """`q(z|x) = prod_n prod_c softmax(logits_n(x))_c^z_nc`, each group z_n one-hot.

    N independent choices among C classes, each as C numbers of which one is 1. A draw is no
    differentiable function of the logits: the objective has to estimate the gradient
    otherwise, `objectives.ELBO(gradient="score", num_samples=2)` or more samples. The KL to
    `priors.UniformCategorical` is exact: `N log C` less the entropies.

    Args:
        latent_size: D = N * C, the groups one after the other.
        classes: C.

    Parameters: `logits` `[B, N, C]`, a projection.

    Raises:
        ValueError: if `latent_size` is not a positive integer, or `classes` not an integer of
            2 or more that divides it.

    Example: `keras_vae.posteriors.OneHot(200, classes=10)`

    References: A. Mnih and D. J. Rezende, Variational Inference for Monte Carlo Objectives,
    ICML 2016.
    """

    reparameterised = False

    def __init__(
        self,
        latent_size: int,
        classes: int,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.groups = groups_of(self.latent_size, classes, self)
        self.classes = int(classes)

    @property
    def support(self) -> str:
        return one_hots(self.classes)

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"logits": (self.latent_size,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logits": tf.reshape(raw["logits"], (-1, self.groups, self.classes))}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        logits = parameters["logits"]
        return Groups(tfd.OneHotCategorical(logits=logits, dtype=logits.dtype))

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The most probable class of each group: the mean is no choice."""
        return distribution.mode()

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \prod_{n} \prod_{c} \mathrm{softmax}(\mathrm{logits}_n(x))_c^{z_{nc}}",
            parameters={"logits": "linear in the encoder's features"},
            learned=("logits(x)",),
            fixed=(
                "no dependence between groups given x",
                f"{self.groups} groups of {self.classes} classes",
            ),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "classes": self.classes}
