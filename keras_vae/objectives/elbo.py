"""The evidence lower bound, with what is commonly done to its KL."""

import dataclasses
import numbers

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.divergences import is_exact, kl_per_dimension, log_prob_per_dimension
from keras_vae.objectives.coordinates import require_factors
from keras_vae.objectives.knobs import at, keep, keep_samples, keep_weight, require_choice
from keras_vae.objectives.objective import Densities, Objective, Schedule, Terms
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class ELBO(Objective):
    """`E_q[log p(x|z)] - beta sum_g max(free_bits, KL_g(q(z|x) || p(z)))`, in nats per example.

    With `beta = 1` and `free_bits = 0` the evidence lower bound of Kingma and Welling (2014):
    `log p(x) - KL(q(z|x) || p(z|x))`. `beta >= 1` (Higgins et al. 2017) or `free_bits > 0`
    leave a looser lower bound; `beta < 1` is no bound on log p(x) at all. With a `capacity` C
    it is `E_q[log p(x|z)] - beta |KL - C|`, which is no bound either.

    Args:
        beta: the weight of the KL: a non-negative number, or a
            `keras.optimizers.schedules.LearningRateSchedule`, read at the optimizer's step.
        num_samples: K, the draws of z that the expectation is estimated with.
        free_bits: nats of KL, in each group and of each example, that cost nothing (Kingma et
            al. 2016, who compare with the batch's mean), so that no gradient pushes the KL
            below them. Where the KL is sampled, the maximum of its estimate is above that of
            its mean.
        free_bits_per: the groups: `"latent"`, all of z; `"dimension"`, each dimension; or a
            tuple of the groups' sizes, which add up to D. The last two need a posterior and
            a prior with independent dimensions.
        capacity: C, nats of KL per example that are aimed at (Burgess et al. 2018), a number or
            a schedule; None for no aim.
        kl: `"exact"`, the closed form where there is one and else sampled; `"sampled"`, the
            mean of `log q(z|x) - log p(z)` over the draws; None for what `gradient` needs.
        gradient: how it is estimated. `"reparameterised"`: through z. `"stl"`, sticking the
            landing (Roeder et al. 2017): through z alone, without the score of q, whose mean
            is zero; its variance vanishes as q(z|x) reaches p(z|x). Needs the sampled KL.
            `"score"`: the score function, each draw's value compared with the mean of the
            others (Mnih and Rezende 2016; Kool et al. 2019). It needs no derivative by z, so
            it serves discrete z, and at least two draws.

    Raises:
        ValueError: if an argument is out of range, or two contradict each other.

    Example: `keras_vae.objectives.ELBO(beta=4.0)`

    References: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    I. Higgins et al., beta-VAE, ICLR 2017. D. P. Kingma et al., Improving Variational
    Inference with Inverse Autoregressive Flow, NeurIPS 2016 (free bits). C. P. Burgess et al.,
    Understanding Disentangling in beta-VAE, arXiv:1804.03599, 2018. G. Roeder, Y. Wu and
    D. Duvenaud, Sticking the Landing, NeurIPS 2017. A. Mnih and D. J. Rezende, Variational
    Inference for Monte Carlo Objectives, ICML 2016. W. Kool, H. van Hoof and M. Welling, Buy 4
    REINFORCE Samples, Get a Baseline for Free!, ICLR workshop 2019.
    """

    beta: float | Schedule = 1.0
    num_samples: int = 1
    free_bits: float = 0.0
    free_bits_per: str | tuple[int, ...] = "latent"
    capacity: float | Schedule | None = None
    kl: str | None = None
    gradient: str = "reparameterised"

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_weight(self, "beta", "the weight of the KL", schedule=True)
        keep_weight(self, "free_bits", "in nats per example")
        if self.capacity is not None:
            keep_weight(self, "capacity", "the nats of KL that are aimed at", schedule=True)
        require_choice(self, "kl", (None, "exact", "sampled"))
        require_choice(self, "gradient", ("reparameterised", "stl", "score"))
        self._keep_groups()
        self._refuse_contradictions()

    def _keep_groups(self) -> None:
        groups = self.free_bits_per
        if isinstance(groups, list | tuple) and groups and all(map(_is_size, groups)):
            keep(self, free_bits_per=tuple(map(int, groups)))
        elif groups not in ("latent", "dimension"):
            raise ValueError(
                "`free_bits_per` of ELBO says what each has free bits. Expected: 'latent', "
                f"'dimension', or a tuple of positive group sizes. Received: {groups!r}."
            )

    def _refuse_contradictions(self) -> None:
        contradictions = {
            "`capacity` or `free_bits`, not both: one aims at a KL, the other allows one": (
                self.capacity is not None and self.free_bits > 0
            ),
            'kl="sampled" (or none) with gradient="stl": a closed form has no score to leave out': (
                self.gradient == "stl" and self.kl == "exact"
            ),
            'neither `free_bits` nor `capacity` with gradient="stl": the score has mean zero only '
            "in a bound that is linear in the KL": self.gradient == "stl" and self._is_bent,
            'num_samples of 2 or more with gradient="score": each draw is compared with the others': (
                self.gradient == "score" and self.num_samples < 2
            ),
            'kl="exact" (or none) with gradient="score" and free bits or a capacity: a function '
            "of the mean of the draws is no mean over draws": (
                self.gradient == "score" and self._is_bent and self.kl == "sampled"
            ),
        }
        for expected, refused in contradictions.items():
            if refused:
                raise ValueError(
                    f"Arguments of ELBO contradict each other. Expected: {expected}. "
                    f"Received: {self!r}."
                )

    # The value

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        return tf.reduce_mean(terms.log_likelihood, axis=0) - self._cost(terms, step)

    def _cost(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        """What is taken off the likelihood, `[B]`."""
        kl = self._kl(terms)
        if self.capacity is not None:
            kl = tf.abs(kl - at(self.capacity, step, kl.dtype))
        return at(self.beta, step, kl.dtype) * kl

    def _kl(self, terms: Terms) -> tf.Tensor:
        """The KL, no group's less than its free bits, `[B]`."""
        if not self._is_grouped:
            ratio = terms.log_posterior - terms.log_prior
            return self._paid(tf.reduce_mean(ratio, axis=0) if self._sampled else terms.kl)
        groups = self._grouped(self._kl_per_dimension(terms))  # [B, G]
        return tf.reduce_sum(self._paid(groups), axis=-1) + terms.kl_of_condition

    def _kl_per_dimension(self, terms: Terms) -> tf.Tensor:
        if self._sampled:
            by_q = log_prob_per_dimension(terms.q, terms.z)
            by_p = log_prob_per_dimension(terms.p, terms.z)
            return tf.reduce_mean(by_q - by_p, axis=0)
        # Without z a pair that has no closed form is an error, which the score needs.
        return kl_per_dimension(terms.q, terms.p, None if self.gradient == "score" else terms.z)

    def _grouped(self, kl: tf.Tensor) -> tf.Tensor:
        """`[B, D] -> [B, G]`."""
        if self.free_bits_per == "dimension":
            return kl
        groups = tf.split(kl, self.free_bits_per, axis=-1)
        return tf.stack([tf.reduce_sum(group, -1) for group in groups], axis=-1)

    def _paid(self, kl: tf.Tensor) -> tf.Tensor:
        if self.free_bits == 0:  # a sampled KL may be negative: clipping it at 0 would be a bias
            return kl
        return tf.maximum(kl, tf.constant(self.free_bits, kl.dtype))

    @property
    def _sampled(self) -> bool:
        return self.kl == "sampled" or (self.kl is None and self.gradient == "stl")

    @property
    def _is_bent(self) -> bool:
        """Whether the bound is no linear function of the KL."""
        return self.free_bits > 0 or self.capacity is not None

    @property
    def _is_grouped(self) -> bool:
        """Whether the free bits are of parts of z."""
        return self.free_bits > 0 and self.free_bits_per != "latent"

    # The gradient

    @property
    def differentiates_bound(self) -> bool:
        return self.gradient == "reparameterised"

    def surrogate(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        if self.gradient == "score":
            return self._by_score(terms, step)
        return self.bound(terms.without_score() if self.gradient == "stl" else terms, step)

    def path_weight(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor | None:
        if self.gradient != "score":
            return None
        return tf.zeros_like(terms.log_likelihood)  # nothing goes through z

    def _by_score(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        """`1/K sum_k (f_k - mean of the others) log q(z_k|x)`, and what depends on no draw."""
        value = terms.log_likelihood  # f, [K, B]
        if self._closed(terms):
            direct = tf.reduce_mean(value, axis=0) - self._cost(terms, step)
        else:
            beta = at(self.beta, step, value.dtype)
            direct = tf.reduce_mean(value + beta * terms.log_prior, axis=0)
            value -= beta * (terms.log_posterior - terms.log_prior)
        above = value - tf.reduce_mean(value, axis=0)
        above *= self.num_samples / (self.num_samples - 1)  # the mean of the others, not of all
        return tf.reduce_mean(tf.stop_gradient(above) * terms.score(), axis=0) + direct

    def _closed(self, terms: Terms) -> bool:
        """Whether the KL is a function of the parameters alone."""
        if self._is_bent:
            _require_closed(terms.q, terms.p, self._is_grouped)
        return self.kl != "sampled" and (self._is_bent or is_exact(terms.q, terms.p))

    def require_densities(self, densities: Densities) -> None:
        bent_score = self.gradient == "score" and self._is_bent
        if not (self._is_grouped or bent_score):
            return
        q, p = densities()
        if self._is_grouped:
            require_factors(self, q)
            require_factors(self, p)
        if bent_score:
            _require_closed(q, p, self._is_grouped)

    def beta_at(self, step: tf.Tensor | int) -> tf.Tensor | float:
        return self.beta(step) if isinstance(self.beta, Schedule) else self.beta

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        return self.capacity is None and float(self.beta_at(step)) >= 1

    # In words

    def equation(self) -> str:
        weight = r"\beta_t\, " if isinstance(self.beta, Schedule) else f"{self.beta:g}\\, "
        weight = "" if self.beta == 1.0 else weight
        return rf"\mathbb{{E}}_{{q(z|x)}}[\log p(x|z)] - {weight}{self._cost_in_letters()}"

    def _cost_in_letters(self) -> str:
        kl = r"\mathrm{KL}(q(z|x)\,\|\,p(z))"
        if self.capacity is not None:
            goal = "C_t" if isinstance(self.capacity, Schedule) else f"{self.capacity:g}"
            return rf"\left|{kl} - {goal}\right|"
        if not self.free_bits:
            return kl
        if self.free_bits_per == "latent":
            return rf"\max({self.free_bits:g},\ {kl})"
        index = "d" if self.free_bits_per == "dimension" else "g"
        kl = rf"\mathrm{{KL}}(q(z_{index}|x)\,\|\,p(z_{index}))"
        return rf"\sum_{index} \max({self.free_bits:g},\ {kl})"

    def estimator(self) -> str:
        if self.gradient == "stl":
            return "sticking the landing: the gradient through z alone, without the score of q(z|x)"
        if self.gradient == "score":
            return (
                "the score function, each draw compared with the mean of the others; not through z"
            )
        return super().estimator()

    def require(self, posterior: Posterior, prior: Prior) -> None:
        if self.gradient != "score":
            super().require(posterior, prior)
        groups = self.free_bits_per
        if isinstance(groups, tuple) and sum(groups) != posterior.latent_size:
            raise ValueError(
                "`free_bits_per` of ELBO does not divide z. Expected: sizes that add up to "
                f"latent_size={posterior.latent_size}. Received: {groups!r}."
            )


def _require_closed(q: tfd.Distribution, p: tfd.Distribution, by_dimension: bool) -> None:
    """Raises a ValueError unless the KL, or that of each dimension, has a closed form."""
    try:
        kl_per_dimension(q, p) if by_dimension else q.kl_divergence(p)
    except NotImplementedError as error:
        raise ValueError(
            "The score function needs the mean of a function of each draw, which free bits or a "
            "capacity on a sampled KL are not. Expected: a posterior and a prior with a closed KL. "
            f"Received: {type(q).__name__} and {type(p).__name__}."
        ) from error


def _is_size(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) > 0
