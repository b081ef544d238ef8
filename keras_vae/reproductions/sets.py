"""Data sets as the papers use them."""

import dataclasses

import numpy as np

from keras_vae.data import DataSet, load


def all_training_images(name: str, data_dir: str | None, binarisation: str) -> DataSet:
    """The data set with its validation images among those for training, as many papers have it."""
    data = load(name, data_dir, binarisation)
    if binarisation == "dynamic":  # the validation images were binarised already: take them grey
        validation = load(name, data_dir, "none").validation.values
    else:
        validation = data.validation.values
    values = np.concatenate([data.train.values, validation])
    protocol = dataclasses.replace(
        data.protocol, split=f"train {len(values)}, test {len(data.test)} (the file's)"
    )
    train = dataclasses.replace(data.train, values=values, labels=None)
    return DataSet(protocol, train, data.validation, data.test)


def dynamic_mnist(data_dir: str | None) -> DataSet:
    """All 60,000 training images, their bits drawn at each visit (Burda et al. 2016)."""
    return all_training_images("mnist", data_dir, "dynamic")


def grey_mnist(data_dir: str | None) -> DataSet:
    """All 60,000 training images, grey values in [0, 1]."""
    return all_training_images("mnist", data_dir, "none")


def larochelle_mnist(data_dir: str | None) -> DataSet:
    """Larochelle's bits, 50,000 images for training."""
    return load("binarized_mnist", data_dir)


def frey_faces(data_dir: str | None) -> DataSet:
    """Frey Faces, grey values in [0, 1], the last frames held out."""
    return load("frey_faces", data_dir)
