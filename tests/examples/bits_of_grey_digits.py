"""Grey MNIST in bits per dimension: a discretised logistic, and a mixture of them.

The values are the 256 levels themselves, so the density is a probability and its bound a number
of bits, `-log2 p(x) / 784`, that a lossless code would need. Most pixels of MNIST are exactly
0 or 255 beside a few in between, which one bell over the levels cannot say and a mixture can.

Run: KERAS_VAE_DATA=... python tests/examples/bits_of_grey_digits.py
"""

from common import model, show, train

from keras_vae import data, evaluation, likelihoods


def run(
    rows: int = 10_000, epochs: int = 20, components: int = 3, tests: int = 2_000
) -> dict[str, float]:
    """Bits per dimension of held-out digits under each likelihood."""
    mnist = data.load("mnist", binarisation="none").levels()
    shape = mnist.event_shape
    found = {}
    for likelihood in (
        likelihoods.DiscretisedLogistic(shape),
        likelihoods.DiscretisedLogisticMixture(shape, components),
    ):
        vae = model(likelihood, latent_size=20, units=(200,))
        train(vae, mnist.train[:rows], mnist.validation[:1_000], epochs, patience=3)
        bound = evaluation.elbo(vae, mnist.test[:tests], num_samples=1).mean
        found[type(likelihood).__name__] = evaluation.bits_per_dimension(bound, shape)
    return found


if __name__ == "__main__":
    show("Grey MNIST, held out, bits per dimension", run())
