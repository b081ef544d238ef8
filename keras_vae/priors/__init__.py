"""p(z), a family a file. To add one, write its file and add its line here."""

from keras_vae.priors.prior import Prior as Prior
from keras_vae.priors.standard_normal import StandardNormal as StandardNormal
