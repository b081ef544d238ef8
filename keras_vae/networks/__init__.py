"""Encoders and decoders: builders of ordinary Keras models. Any model of your own will do."""

from keras_vae.networks.conv import conv as conv
from keras_vae.networks.conv import conv_transpose as conv_transpose
from keras_vae.networks.first import First as First
from keras_vae.networks.mlp import mlp as mlp
from keras_vae.networks.projection import Projection as Projection
from keras_vae.networks.projection import inverse_positive as inverse_positive
from keras_vae.networks.projection import positive as positive
