"""Published tables and figures, trained and measured again: `keras-vae reproduce`."""

from keras_vae.reproductions import (
    burda,
    continuous_bernoulli,
    keras_guide,
    kingma,
    larochelle,
    linear,
    sigma_vae,
)
from keras_vae.reproductions.study import Study as Study

STUDIES: dict[str, Study] = {
    module.STUDY.name: module.STUDY
    for module in (
        burda,
        larochelle,
        sigma_vae,
        continuous_bernoulli,
        linear,
        kingma,
        keras_guide,
    )
}
