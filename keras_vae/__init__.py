"""Variational autoencoders in Keras: a model is the statement of its distributions."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "keras_vae computes with TensorFlow and TensorFlow Probability. Expected: the Keras "
        f"backend 'tensorflow'. Received: {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow "
        "in the environment before keras is imported, or change ~/.keras/keras.json."
    )

from keras_vae import conditions as conditions
from keras_vae import data as data
from keras_vae import evaluation as evaluation
from keras_vae import likelihoods as likelihoods
from keras_vae import networks as networks
from keras_vae import objectives as objectives
from keras_vae import posteriors as posteriors
from keras_vae import priors as priors
from keras_vae.exported import export as export
from keras_vae.vae import VAE as VAE

__version__ = "0.1.0"
