"""Word counts as a multinomial: the perplexity of 20 Newsgroups.

Perplexity, as in neural topic models: `exp(-1/M sum_d 1/N_d log p(words of d))`, N_d the
number of words, the words in their order: without the multinomial's coefficient, which counts
the orders. log p is replaced by its bound, so that the number is an upper bound. The decoder
is linear: each dimension of z adds to the logits of its words. The rows stay sparse. (Miao, Yu
and Blunsom, Neural Variational Inference for Text Processing, ICML 2016, report 836 with D =
50 and a vocabulary of 2,000 words.)

Run: KERAS_VAE_DATA=... python tests/examples/topics_of_newsgroups.py
"""

import keras
import numpy as np
from common import model, read, show, split, train
from scipy import sparse, special

from keras_vae.likelihoods import Multinomial


def rows_of(arrays: dict[str, np.ndarray], part: str) -> sparse.csr_array:
    """The word counts of one part, `[documents, words]`."""
    fields = (arrays[f"x_{part}_{name}"] for name in ("data", "indices", "indptr"))
    shape = tuple(arrays[f"x_{part}_shape"])
    return sparse.csr_array(tuple(fields), shape=shape).astype("float32")


def perplexity(log_prob: np.ndarray, counts: sparse.csr_array) -> float:
    """Of documents with these multinomial log p(x), or bounds on it, in nats."""
    words = counts.sum(axis=1)
    repeats = sparse.csr_array(counts, copy=True)
    repeats.data = special.gammaln(repeats.data + 1)
    orders = special.gammaln(words + 1) - repeats.sum(axis=1)  # log of how many there are
    return float(np.exp(-np.mean((log_prob - orders) / words)))


def by_frequency(train: sparse.csr_array, test: sparse.csr_array) -> float:
    """The perplexity where all documents have the training words' frequencies, plus one."""
    log_share = np.log((train.sum(axis=0) + 1) / (train.sum() + train.shape[1]))
    return float(np.exp(-np.mean(test @ log_share / test.sum(axis=1))))


def run(documents: int | None = None, epochs: int = 100, num_samples: int = 20) -> dict[str, float]:
    """The perplexity of the model, and of the words' frequencies alone."""
    arrays = read("news20_nvdm_bow.npz")
    rows, test = (rows_of(arrays, part)[:documents] for part in ("train", "test"))
    first, validation, rest = split(rows.shape[0])
    likelihood = Multinomial(rows.shape[1:])
    vae = model(likelihood, latent_size=50, units=(500,), decoder=keras.layers.Identity())
    train(vae, rows[np.r_[first, rest]], rows[validation], epochs, batch_size=64, patience=5)
    starts = range(0, test.shape[0], 500)
    bound = np.concatenate([vae.elbo(test[i : i + 500], num_samples, seed=i) for i in starts])
    return {
        "perplexity": perplexity(bound, test),
        "perplexity of word frequencies": by_frequency(rows, test),
    }


if __name__ == "__main__":
    show("20 Newsgroups, held out", run())
