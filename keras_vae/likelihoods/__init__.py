"""p(x|z), a family a file. To add one, write its file and add its line here."""

from keras_vae.likelihoods.bernoulli import Bernoulli as Bernoulli
from keras_vae.likelihoods.beta import Beta as Beta
from keras_vae.likelihoods.categorical import Categorical as Categorical
from keras_vae.likelihoods.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from keras_vae.likelihoods.discretised_logistic import DiscretisedLogistic as DiscretisedLogistic
from keras_vae.likelihoods.discretised_logistic_mixture import (
    DiscretisedLogisticMixture as DiscretisedLogisticMixture,
)
from keras_vae.likelihoods.laplace import Laplace as Laplace
from keras_vae.likelihoods.likelihood import Likelihood as Likelihood
from keras_vae.likelihoods.logit_normal import LogitNormal as LogitNormal
from keras_vae.likelihoods.missing import Missing as Missing
from keras_vae.likelihoods.multinomial import Multinomial as Multinomial
from keras_vae.likelihoods.negative_binomial import NegativeBinomial as NegativeBinomial
from keras_vae.likelihoods.normal import Normal as Normal
from keras_vae.likelihoods.one_hot_categorical import OneHotCategorical as OneHotCategorical
from keras_vae.likelihoods.poisson import Poisson as Poisson
from keras_vae.likelihoods.student_t import StudentT as StudentT
from keras_vae.likelihoods.table import Table as Table
from keras_vae.likelihoods.truncated_normal import TruncatedNormal as TruncatedNormal
from keras_vae.likelihoods.zero_inflated_negative_binomial import (
    ZeroInflatedNegativeBinomial as ZeroInflatedNegativeBinomial,
)
