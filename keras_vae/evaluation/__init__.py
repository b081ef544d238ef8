"""Held-out numbers and latent diagnostics."""

from keras_vae.evaluation.annealed import AnnealedLogLikelihood as AnnealedLogLikelihood
from keras_vae.evaluation.annealed import (
    annealed_importance_sampling as annealed_importance_sampling,
)
from keras_vae.evaluation.anomaly import anomaly_scores as anomaly_scores
from keras_vae.evaluation.anomaly import perturbed as perturbed
from keras_vae.evaluation.auroc import AUROC as AUROC
from keras_vae.evaluation.auroc import auroc as auroc
from keras_vae.evaluation.bidirectional import LogLikelihoodBounds as LogLikelihoodBounds
from keras_vae.evaluation.bidirectional import (
    bidirectional_monte_carlo as bidirectional_monte_carlo,
)
from keras_vae.evaluation.bits import bits_per_dimension as bits_per_dimension
from keras_vae.evaluation.bound import Estimate as Estimate
from keras_vae.evaluation.bound import Terms as Terms
from keras_vae.evaluation.bound import distortion as distortion
from keras_vae.evaluation.bound import elbo as elbo
from keras_vae.evaluation.bound import independent_baseline as independent_baseline
from keras_vae.evaluation.bound import rate as rate
from keras_vae.evaluation.bound import terms as terms
from keras_vae.evaluation.classifier_two_sample import (
    classifier_two_sample_test as classifier_two_sample_test,
)
from keras_vae.evaluation.coverage import DensityCoverage as DensityCoverage
from keras_vae.evaluation.coverage import PrecisionRecall as PrecisionRecall
from keras_vae.evaluation.coverage import density_coverage as density_coverage
from keras_vae.evaluation.coverage import precision_recall as precision_recall
from keras_vae.evaluation.decomposition import Decomposition as Decomposition
from keras_vae.evaluation.decomposition import kl_decomposition as kl_decomposition
from keras_vae.evaluation.disentanglement import DCI as DCI
from keras_vae.evaluation.disentanglement import dci as dci
from keras_vae.evaluation.disentanglement import mutual_information as mutual_information
from keras_vae.evaluation.disentanglement import mutual_information_gap as mutual_information_gap
from keras_vae.evaluation.disentanglement import (
    separated_attribute_predictability as separated_attribute_predictability,
)
from keras_vae.evaluation.features import features_of as features_of
from keras_vae.evaluation.frechet import frechet_distance as frechet_distance
from keras_vae.evaluation.gaps import InferenceGaps as InferenceGaps
from keras_vae.evaluation.gaps import inference_gaps as inference_gaps
from keras_vae.evaluation.kernel_two_sample import kernel_two_sample_test as kernel_two_sample_test
from keras_vae.evaluation.latent import ActiveUnits as ActiveUnits
from keras_vae.evaluation.latent import active_units as active_units
from keras_vae.evaluation.latent import kl_per_dimension as kl_per_dimension
from keras_vae.evaluation.latent import latent_means as latent_means
from keras_vae.evaluation.log_likelihood import LogLikelihood as LogLikelihood
from keras_vae.evaluation.log_likelihood import log_likelihood as log_likelihood
from keras_vae.evaluation.predictive_check import PredictiveCheck as PredictiveCheck
from keras_vae.evaluation.predictive_check import predictive_check as predictive_check
from keras_vae.evaluation.two_sample import TwoSampleTest as TwoSampleTest
