"""A model as a SavedModel for TensorFlow Serving."""

from keras_vae.exported.export import export as export
from keras_vae.exported.in_process import InProcess as InProcess
