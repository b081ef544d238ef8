"""What the page says of each mistake; its numbers come from the models that were trained."""

import dataclasses
from collections.abc import Callable

import numpy as np
from app_mistakes import DRAWS, LATENT, PIXELS
from app_mistakes_judged import Result

ABOUT = f"""
Each switch trains a small model with one mistake that popular code makes, and beside it the
version without: the same networks, first weights, digits, order and number of steps. x is a
digit of 8x8, so d = {PIXELS} values; z has D = {LATENT}. These mistakes are no part of the
package. They are arguments of the same `keras_vae.VAE`, in one file of this page,
`streamlit_app/app_mistakes.py`, and nowhere else.
"""

COMPARISON = """
No number here is the loss of the version that is judged: losses of different mistakes mean
different things. Each is a lower bound on the mean of log p(x) over 359 digits that no version
was trained on, in nats, by `keras_vae.evaluation.elbo`, with 10 draws of z and the standard error over digits.
A bound belongs to a model, and so to one p(x|z). Which one, is a choice; here are both.

- **As assumed.** The same networks, and the p(x|z) under which the training was right. It is
  what the author of the mistake has signed, mostly without knowing it.
- **With the σ² that suits its means.** The same q(z|x), the same means, and a Normal around them whose
  σ² is the mean squared error on the training data, which no other σ² can beat there. It forgives
  a σ² that nobody meant, and leaves what the mistake has done to the networks. So this is the
  fair comparison, unless the text says otherwise.

Both charge a version with its own q(z|x), which is not trained again. The importance-weighted bound with
50 draws charges much less for it. What is lost there, too, is lost in the decoder.
"""


@dataclasses.dataclass(frozen=True)
class Words:
    """What is said of a mistake.

    Attributes:
        title: its name.
        mistake: what the code does.
        assumes: what that silently assumes, from the results of wrong and right.
        fair: how to read the comparison.
    """

    title: str
    mistake: str
    assumes: Callable[[Result, Result], str]
    fair: str


def _pixels(wrong: Result, right: Result) -> str:
    return rf"""
For a Normal, $-\log \mathcal{{N}}(x; \mu, \sigma^2 I) = \lVert x - \mu \rVert^2 / 2 \sigma^2 +
\tfrac d2 \log 2 \pi \sigma^2$. So the mean over pixels is the log density of a Normal with

$$
\frac{{1}}{{2 \sigma^2}} = \frac1d \quad\Longleftrightarrow\quad \sigma^2 = \frac d2 =
{wrong.variance:g},\qquad \beta = 1.
$$

The mean squared error of the right version is {right.best_variance:.3f}: the noise is
overstated {wrong.variance / right.best_variance:,.0f}-fold, and no direction of z is worth its KL.
"""


def _dimensions(wrong: Result, right: Result) -> str:
    return rf"""
$\tfrac1D \sum_d \mathrm{{KL}}_d$ is the KL with the weight $\beta = 1/D = {1 / LATENT:g}$. Below 1
that is no bound on log p(x). As $\log \mathcal{{N}}(x; \mu, \sigma^2 I) - \beta\, \mathrm{{KL}} = \beta
\left[\log \mathcal{{N}}(x; \mu, \beta \sigma^2 I) - \mathrm{{KL}}\right]$ up to a constant, the
networks are trained as if the noise were D times smaller than it was found to be:

$$
\beta \sigma^2 = {wrong.variance:.4f}\quad\text{{instead of}}\quad \sigma^2 = {wrong.variance * LATENT:.4f}.
$$

So q(z|x) is made too narrow: it spends {wrong.kl.sum():.1f} nats of KL, and the right one
{right.kl.sum():.1f}.
"""


def _both(wrong: Result, right: Result) -> str:
    return rf"""
Times D, the loss is $\tfrac Dd \lVert x - \mu \rVert^2 + \mathrm{{KL}}$. So it is the ELBO of a
Normal with

$$
\frac{{1}}{{2 \sigma^2}} = \frac Dd \quad\Longleftrightarrow\quad \sigma^2 = \frac{{d}}{{2D}} =
{wrong.variance:g},\qquad \beta = 1,
$$

all divided by D, which Adam does not notice. The two averages do not cancel: the mean squared
error of the right version is {right.best_variance:.3f}.
"""


def _twice(wrong: Result, right: Result) -> str:
    return rf"""
$\mathrm{{KL}} + \mathrm{{KL}}$ is the KL with the weight $\beta = 2$. That is a lower bound on
log p(x) still, and a looser one. The networks are trained as if the noise were twice what it was
found to be:

$$
\beta \sigma^2 = {wrong.variance:.4f}\quad\text{{instead of}}\quad \sigma^2 = {wrong.variance / 2:.4f}.
$$

So z says less of x: {wrong.kl.sum():.1f} nats, and {right.kl.sum():.1f} in the right version.
"""


def _grey(wrong: Result, right: Result) -> str:
    return rf"""
A Bernoulli has a density for 0 and 1 alone. On [0, 1] the same formula integrates to

$$
\int_0^1 m^x (1 - m)^{{1 - x}}\, dx = \frac{{2m - 1}}{{\log m - \log (1 - m)}} \le \frac12,
$$

and not to 1, whatever m is. With the missing constant it is the continuous Bernoulli, whose mean
is not m; the right version has it. By the logits the gradient is $x - m$, that of a Normal with
$\sigma^2 = m(1 - m)$: {wrong.variance:.3f} on average here, where the mean squared error is
{wrong.best_variance:.3f}. Noise is overstated {wrong.variance / wrong.best_variance:.1f}-fold; β is 1.
"""


def _draw(wrong: Result, right: Result) -> str:
    return rf"""
With a draw $\hat x = \mu + \sigma \varepsilon$ in place of the mean,

$$
\mathbb{{E}} \lVert x - \hat x \rVert^2 = \lVert x - \mu \rVert^2 + d \sigma^2,\qquad
\mathbb{{E}}[-\log \mathcal{{N}}(x; \hat x, \sigma^2 I)] = -\log \mathcal{{N}}(x; \mu, \sigma^2 I) +
\frac d2.
$$

So σ² and β stay what they are: {wrong.variance:.4f} as it was learned, and 1. The loss
is d/2 = {PIXELS / 2:g} nats too high, whatever σ² is; its minimum is where it was. What is bought with
that is noise in every gradient, and nothing else.
"""


def _inverted(wrong: Result, right: Result) -> str:
    worst, due = worst_weight(wrong)
    return rf"""
No σ² and no β does this. Over {DRAWS} draws of z for one x the worst has
{worst:.0%} of the weight, on average over some digits; rightly it would have {due:.1g}. It is the ELBO of
about the worst draw. As $\sum_k v_k \log w_k \le \tfrac1K \sum_k \log w_k$ it is below the ELBO,
where the right one is above it. And as the weights are differentiated, too, a draw that is more
than a nat better than the weighted mean is *pushed down*.
"""


def worst_weight(result: Result) -> tuple[float, float]:
    """The mean weight of the worst draw, inverted and right."""
    worst = result.log_weights.argmin(axis=0)[None]
    inverted, right = (
        float(np.take_along_axis(_softmax(sign * result.log_weights), worst, axis=0).mean())
        for sign in (-1, 1)
    )
    return inverted, right


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=0))
    return powers / powers.sum(axis=0)


COLLAPSED = (
    "As assumed, the bound is that of a σ² which nobody meant. With the σ² that suits its means, the harm "
    "to the networks is left, and it is total: every digit is decoded to the same picture, "
    "the mean of all digits. The loss in its log looks fine."
)

WORDS = {
    "pixels": Words(
        "Averaging over pixels",
        "The squared error is a *mean* over pixels, the KL a sum over dimensions: "
        "`mse(x, decoded) + kl`.",
        _pixels,
        COLLAPSED,
    ),
    "dimensions": Words(
        "Averaging the KL",
        "log p(x|z) is a sum over pixels, and the KL a *mean* over dimensions: "
        "`reduce_mean(kl_per_dimension)`.",
        _dimensions,
        "On the training data its mean squared error is the smaller one. On held-out digits the "
        "bound is the lower one: the decoder has never seen the z between these narrow q(z|x), which is "
        "where samples from the prior come from.",
    ),
    "both": Words(
        "Averaging both",
        "The squared error is a mean over pixels and the KL a mean over dimensions, as if that "
        "kept them in proportion.",
        _both,
        COLLAPSED,
    ),
    "twice": Words(
        "Counting the KL twice",
        "The KL is added by a regulariser that is called on two outputs of one layer.",
        _twice,
        "As assumed, its σ² is twice the one that suits its means. With the latter a few nats "
        "are lost for good, and the pictures are a little smoother.",
    ),
    "grey": Words(
        "Grey values in a Bernoulli",
        "Binary cross-entropy, with grey values for the bits.",
        _grey,
        "As assumed, both are continuous Bernoullis. Those two numbers compare with each other "
        "alone: such a density has no limit at values of exactly 0, as the background of a digit "
        "is. With the σ² that suits their means, both are Normals around the pictures that they "
        "show: the sigmoid of the logits here, the mean of its density there.",
    ),
    "draw": Words(
        "Squared error against a draw",
        "The decoder's output is drawn from p(x|z), and x is compared with the draw: "
        "`mse(x, p_x_given_z.sample())`.",
        _draw,
        "The version is judged rightly, by the mean. What it lost is due to noise.",
    ),
    "inverted": Words(
        "Importance weights inverted",
        "The weights of the draws of z are a softmax of the *losses*, and so of $-\\log w$.",
        _inverted,
        "The right version maximises the importance-weighted bound, so its q(z|x) is made for many "
        "draws and not for one. By the bound of a single draw, the two may come out either way. The fair row "
        "is the one with 50 weighted draws.",
    ),
}

WHO = [
    (
        "Averaging both",
        "Keras 3's guide, Making new layers and models via subclassing",
        "On MNIST σ² is 784/64 = 12.25, and the largest eigenvalue of the data 5.117. Run as it "
        "stands: KL 0.000013 nats, 0 of 32 active units",
    ),
    (
        "Averaging over pixels",
        "PyTorch-VAE, VanillaVAE",
        "With 0.00025 KL it is β ≈ 1.54 at σ² = 1 in training, and β ≈ 6144 in validation",
    ),
    (
        "Averaging the KL",
        "keras #6015, keras-io #270, WorldModels #2, #9 and #12",
        "Mean or sum was changed back and forth since 2016; users traced a collapse to the mean",
    ),
    (
        "Counting the KL twice",
        "tfp.layers, TFP #1215",
        "Two losses that add up to 3.2506, where the KL is 1.6253",
    ),
    (
        "Grey values in a Bernoulli",
        "pyro #529 and #1773, mfcvae #2, pytorch/examples PR #683",
        "tfd.Bernoulli gives -0.738 for log p(0.3), without a word",
    ),
    (
        "Squared error against a draw",
        "discgen #4, y0ast #4, cellarium-ml PR #328",
        "The mean and a draw are taken for each other, in pictures or in z",
    ),
    (
        "Importance weights inverted",
        "PyTorch-VAE, models/iwae.py, issue #34 and PR #53",
        "softmax of squared error + KL, not detached",
    ),
]
