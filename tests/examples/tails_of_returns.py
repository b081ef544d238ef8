"""Daily returns have heavy tails: Student-t against Normal.

Two indices, 5,030 days: the last fifth is held out, the tenth before it chooses when to stop.
z is one number, what the two have in common on a day. With a linear decoder this is a factor
model, and with the Normal a bivariate Normal; a network bends z into some of the tails. In
both the Student-t fits better, and it finds its degrees of freedom. (With as many
dimensions of z as there are values, a network bends z into any density: not here.)

Run: KERAS_VAE_DATA=... python tests/examples/tails_of_returns.py
"""

import keras
import numpy as np
from common import model, read, show, train

from keras_vae import evaluation
from keras_vae.likelihoods import Normal, StudentT
from keras_vae.networks import mlp


def run(epochs: int = 100) -> dict[str, float]:
    """The held-out bound of each likelihood under each decoder, nats per day."""
    returns = read("counts_and_returns.npz")["returns_pct"].astype("float32")
    first, validation, test = np.split(returns, [int(0.7 * len(returns)), int(0.8 * len(returns))])
    found = {}
    for family in (Normal, StudentT):
        for name, decoder in {"linear": keras.layers.Identity(), "network": mlp([32])}.items():
            likelihood = family((2,), scale="per_channel")
            vae = model(likelihood, 1, (32,), decoder=decoder, learning_rate=5e-3)
            train(vae, first, validation, epochs)
            found[f"{family.__name__}, {name}"] = evaluation.elbo(vae, test, num_samples=50).mean
            if family is StudentT:
                df = vae.decode(np.zeros((1, 1))).distribution.df
                found[f"degrees of freedom, {name}"] = float(np.squeeze(df))
    return found


if __name__ == "__main__":
    show("Held-out bound, nats per day", run())
