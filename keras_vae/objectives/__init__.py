"""Bounds on log p(x), an idea a file. To add one, write its file and add its line here."""

from keras_vae.objectives.beta_tcvae import BetaTCVAE as BetaTCVAE
from keras_vae.objectives.ciwae import CIWAE as CIWAE
from keras_vae.objectives.dip_vae import DIPVAE as DIPVAE
from keras_vae.objectives.elbo import ELBO as ELBO
from keras_vae.objectives.factor_vae import FactorVAE as FactorVAE
from keras_vae.objectives.info_vae import InfoVAE as InfoVAE
from keras_vae.objectives.iwae import IWAE as IWAE
from keras_vae.objectives.miwae import MIWAE as MIWAE
from keras_vae.objectives.objective import Objective as Objective
from keras_vae.objectives.objective import Terms as Terms
from keras_vae.objectives.piwae import PIWAE as PIWAE
from keras_vae.objectives.renyi import Renyi as Renyi
from keras_vae.objectives.schedules import Cyclical as Cyclical
from keras_vae.objectives.schedules import LinearWarmUp as LinearWarmUp
