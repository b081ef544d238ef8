"""What is observed beside x, a kind a file. To add one, write its file and add its line here."""

from keras_vae.conditions.condition import Cases as Cases
from keras_vae.conditions.condition import Condition as Condition
from keras_vae.conditions.condition import Given as Given
from keras_vae.conditions.labels import Labels as Labels
from keras_vae.conditions.one_hot import OneHot as OneHot
from keras_vae.conditions.vector import Vector as Vector
