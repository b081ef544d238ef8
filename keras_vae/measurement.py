"""What a finished run says of its model in numbers, and what computed them."""

import dataclasses
import platform
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae import evaluation
from keras_vae.data import DataSet
from keras_vae.recipe import Recipe
from keras_vae.vae import VAE


def measure(vae: VAE, data: DataSet, recipe: Recipe, epochs: int) -> dict[str, Any]:
    """The held-out bound beside the baseline that knows no latent, and how both were made."""
    bound = evaluation.elbo(vae, data.test, num_samples=10, seed=recipe.seed)
    baseline = evaluation.independent_baseline(vae.likelihood, data.train, data.test)
    return {
        "test": {
            "elbo": dataclasses.asdict(bound),
            "independent_baseline": dataclasses.asdict(baseline),
            "margin": bound.mean - baseline.mean,
            "draws_of_z": 10,
            "unit": "nats per example",
        },
        "evaluate": vae.evaluate(data.test, verbose=0, return_dict=True),
        "protocol": dataclasses.asdict(data.protocol),
        "beta": float(vae.assumptions().bound.beta),
        "epochs": epochs,
        "parameters": vae.count_params(),
        "seed": recipe.seed,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """What computed the numbers."""
    import keras_vae

    return {
        "keras_vae": keras_vae.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "tensorflow_probability": tfp.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
