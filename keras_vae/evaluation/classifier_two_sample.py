"""Whether two sets of examples come from one distribution, by a classifier that tells them apart."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from keras_vae.arguments import generator
from keras_vae.evaluation.features import Features, pair_of_features
from keras_vae.evaluation.rows import MEMORY, Rows
from keras_vae.evaluation.two_sample import TwoSampleTest, require_rows

CLASSIFIERS = ("logistic", "neighbours")


def classifier_two_sample_test(
    real: Any,
    generated: Any,
    features: Features = None,
    classifier: str = "logistic",
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> TwoSampleTest:
    """How well a classifier tells real from generated examples that it was not trained on.

    It is trained on a random half of each set and judged on the other halves, as many of both.
    Where the distributions are equal the number it has right is at most as spread as
    Binomial(n, 1/2) of n held-out examples, which gives the p-value, one-sided and conservative
    (as spread if it calls each set real half the time). It has power only where the classifier finds
    a difference: a logistic regression sees no further than the means of the features.

    Args:
        real: `[N, *E]`, or a source.
        generated: `[M, *E]`, or a source, such as `vae.sample(1000, draw=True)`. Of the larger
            set as many rows are taken, at random, as the other has.
        features: see `features_of`; None for the values themselves.
        classifier: `"logistic"`, scikit-learn's regression on standardised features, or
            `"neighbours"`, the vote of as many nearest rows as the square root of their number,
            an odd one.
        seed: of the rows that are held out.
        memory: bytes that one chunk of rows may take, of x (see `features_of`) and of those that
            the classifier judges; beside all features, three times, since it is fitted on half
            of them as a whole.
        progress: whether a bar is shown, on a terminal.
        checkpoint: files for finished features, `NAME.real.npz` and `NAME.generated.npz` of
            `NAME.npz`: a run that was stopped goes on from them. The classifier is fitted anew.

    Raises:
        ValueError: if a set has fewer than four examples, `classifier` is neither of the two,
            or see `features_of`.

    Example: `print(evaluation.classifier_two_sample_test(x_test, vae.sample(1000, draw=True)))`

    References: D. Lopez-Paz and M. Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017.
    """
    rows = Rows(memory, progress, checkpoint)
    x, y = pair_of_features(real, generated, features, rows)
    require_rows(4, real=len(x), generated=len(y))
    random = generator(seed)
    size = min(len(x), len(y))
    shuffled = (values[random.permutation(len(values))[:size]] for values in (x, y))
    (train_x, test_x), (train_y, test_y) = (np.array_split(values, 2) for values in shuffled)
    model = _classifier(classifier, 2 * len(train_x))
    model.fit(np.concatenate([train_x, train_y]), np.repeat([0, 1], len(train_x)))
    test = np.concatenate([test_x, test_y])
    row = 8 * (2 * len(train_x) + test.shape[1])  # its distances, and itself standardised
    guessed = np.concatenate(
        [model.predict(test[part]) for part in rows.blocks(len(test), row, "classifier")]
    )
    right = int(np.sum(guessed == np.repeat([0, 1], len(test_x))))
    outcome = stats.binomtest(right, len(guessed), alternative="greater")
    return TwoSampleTest(right / len(guessed), float(outcome.pvalue))


def _classifier(name: str, rows: int) -> Any:
    from sklearn.linear_model import LogisticRegression  # a second to import, and for this alone
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    if name == "neighbours":
        return KNeighborsClassifier(n_neighbors=2 * (math.isqrt(rows) // 2) + 1)
    raise ValueError(
        f"`classifier` is one of {', '.join(map(repr, CLASSIFIERS))}. Received: {name!r}."
    )
