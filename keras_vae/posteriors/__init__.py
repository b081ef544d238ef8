"""q(z|x), a family a file. To add one, write its file and add its line here."""

from keras_vae.posteriors.bernoulli import Bernoulli as Bernoulli
from keras_vae.posteriors.chain import Chain as Chain
from keras_vae.posteriors.coupling_flow import CouplingFlow as CouplingFlow
from keras_vae.posteriors.diagonal_normal import DiagonalNormal as DiagonalNormal
from keras_vae.posteriors.full_covariance_normal import FullCovarianceNormal as FullCovarianceNormal
from keras_vae.posteriors.inverse_autoregressive_flow import (
    InverseAutoregressiveFlow as InverseAutoregressiveFlow,
)
from keras_vae.posteriors.laplace import Laplace as Laplace
from keras_vae.posteriors.low_rank_normal import LowRankNormal as LowRankNormal
from keras_vae.posteriors.mixture_of_normals import MixtureOfNormals as MixtureOfNormals
from keras_vae.posteriors.one_hot import OneHot as OneHot
from keras_vae.posteriors.planar_flow import PlanarFlow as PlanarFlow
from keras_vae.posteriors.posterior import Posterior as Posterior
from keras_vae.posteriors.power_spherical import PowerSpherical as PowerSpherical
from keras_vae.posteriors.product import Product as Product
from keras_vae.posteriors.relaxed_bernoulli import RelaxedBernoulli as RelaxedBernoulli
from keras_vae.posteriors.relaxed_one_hot import RelaxedOneHot as RelaxedOneHot
from keras_vae.posteriors.top_down import TopDown as TopDown
from keras_vae.posteriors.von_mises_fisher import VonMisesFisher as VonMisesFisher
