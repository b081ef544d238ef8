"""The prior under which all classes are equally probable."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.concrete import Concrete
from keras_vae.distributions.groups import Groups
from keras_vae.latents import groups_of, one_hots, require_temperature, simplices
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class UniformCategorical(Prior):
    """`p(z) = prod_n 1/C` over groups z_n of C numbers, one-hot; or its Concrete relaxation.

    For `posteriors.OneHot` without a temperature t; for `posteriors.RelaxedOneHot` with one:
    then z_n are positive numbers that sum to 1, with the density

        p(z_n) = (C-1)! t^(C-1) prod_c z_nc^(-t-1) / (sum_c z_nc^-t)^C.

    Both densities have to be relaxed for the bound to be one (Maddison et al. 2017); the two
    temperatures may differ.

    Args:
        latent_size: D = N * C, the groups one after the other.
        classes: C.
        temperature: t, a positive number, or None for choices as they are.

    Raises:
        ValueError: if `latent_size` is not a positive integer, `classes` not an integer of 2
            or more that divides it, or `temperature` neither a positive number nor None.

    Example: `keras_vae.priors.UniformCategorical(200, classes=10, temperature=0.5)`

    References: C. J. Maddison, A. Mnih and Y. W. Teh, The Concrete Distribution: A Continuous
    Relaxation of Discrete Random Variables, ICLR 2017.
    """

    def __init__(
        self,
        latent_size: int,
        classes: int,
        temperature: float | None = None,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.groups = groups_of(self.latent_size, classes, self)
        if temperature is not None:
            require_temperature(temperature, self, "None for one-hot values")
        self.classes = int(classes)
        self.temperature = temperature

    @property
    def support(self) -> str:
        return one_hots(self.classes) if self.temperature is None else simplices(self.classes)

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        equal = tf.zeros((self.groups, self.classes), self.density_dtype)
        if self.temperature is None:
            return Groups(tfd.OneHotCategorical(logits=equal, dtype=equal.dtype))
        return Groups(Concrete(equal, tf.constant(self.temperature, equal.dtype)))

    def statement(self) -> Statement:
        fixed = ("probabilities", f"{self.groups} groups of {self.classes} classes")
        if self.temperature is None:
            return self.stated(
                equation=r"p(z) = \prod_{n} \frac{1}{C}",
                parameters={"probabilities": "equal"},
                fixed=fixed,
            )
        return self.stated(
            equation=r"p(z) = \prod_{n} \frac{(C-1)!\, t^{C-1} \prod_c z_{nc}^{-t-1}}{(\sum_c z_{nc}^{-t})^C}",
            parameters={"probabilities": "equal", "temperature": f"t = {self.temperature}"},
            fixed=(*fixed, "temperature"),
        )

    def get_config(self) -> dict:
        own = {"classes": self.classes, "temperature": self.temperature}
        return {**super().get_config(), **own}
