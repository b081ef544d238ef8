"""Data sets, each with a stated protocol, and the pipeline that feeds a model."""

from keras_vae.data.binarisation import binarise as binarise
from keras_vae.data.binarisation import threshold as threshold
from keras_vae.data.sets import DataSet as DataSet
from keras_vae.data.sets import load as load
from keras_vae.data.source import Protocol as Protocol
from keras_vae.data.source import Source as Source
