"""Bounds on log p(x), an idea a file. To add one, write its file and add its line here."""

from keras_vae.objectives.elbo import ELBO as ELBO
from keras_vae.objectives.iwae import IWAE as IWAE
from keras_vae.objectives.objective import Objective as Objective
from keras_vae.objectives.objective import Terms as Terms
