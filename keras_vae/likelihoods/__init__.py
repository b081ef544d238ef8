"""p(x|z), a family a file. To add one, write its file and add its line here."""

from keras_vae.likelihoods.bernoulli import Bernoulli as Bernoulli
from keras_vae.likelihoods.likelihood import Likelihood as Likelihood
from keras_vae.likelihoods.normal import Normal as Normal
