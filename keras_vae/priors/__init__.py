"""p(z), a family a file. To add one, write its file and add its line here."""

from keras_vae.priors.autoregressive_flow import AutoregressiveFlow as AutoregressiveFlow
from keras_vae.priors.chain import Chain as Chain
from keras_vae.priors.conditional_normal import ConditionalNormal as ConditionalNormal
from keras_vae.priors.coupling_flow import CouplingFlow as CouplingFlow
from keras_vae.priors.ex_post import ExPost as ExPost
from keras_vae.priors.learned_normal import LearnedNormal as LearnedNormal
from keras_vae.priors.mixture_of_normals import MixtureOfNormals as MixtureOfNormals
from keras_vae.priors.prior import Prior as Prior
from keras_vae.priors.product import Product as Product
from keras_vae.priors.standard_normal import StandardNormal as StandardNormal
from keras_vae.priors.uniform_bernoulli import UniformBernoulli as UniformBernoulli
from keras_vae.priors.uniform_categorical import UniformCategorical as UniformCategorical
from keras_vae.priors.uniform_sphere import UniformSphere as UniformSphere
from keras_vae.priors.vamp_prior import VampPrior as VampPrior
