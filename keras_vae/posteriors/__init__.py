"""q(z|x), a family a file. To add one, write its file and add its line here."""

from keras_vae.posteriors.diagonal_normal import DiagonalNormal as DiagonalNormal
from keras_vae.posteriors.full_covariance_normal import FullCovarianceNormal as FullCovarianceNormal
from keras_vae.posteriors.posterior import Posterior as Posterior
