"""Which latent dimension says which factor: MIG, SAP and DCI, their estimators pinned.

Published implementations differ by two orders of magnitude on one model, because each
estimates mutual information in its own way, or leaves it to a library that changes. Here
everything that enters a number is written down: the bins, the classifier, the split, the seed.

`latents [N, D]` are such as `evaluation.latent_means(vae, x)`, `factors [N, F]` whole numbers, the
known classes of each x. The memory limit, the bar and the checkpoint are those of `latent_means`,
which goes through x: of `[N, D]` numbers and `[N, F]` classes no more is made than a few copies,
but for the trees of scikit-learn, one factor's at a time.
"""

import dataclasses

import numpy as np

from keras_vae.arguments import floats, generator, is_integer

BINS = 20
TREES = 50


def mutual_information(latents: np.ndarray, factors: np.ndarray, bins: int = BINS) -> np.ndarray:
    """`I(z_d; v_f)`, `[D, F]`, in nats: of counts, z_d cut into bins of equal width.

    The plug-in estimate `sum_ab p_ab log(p_ab / p_a p_b)` of the N pairs, from the smallest to
    the largest value of z_d. Of independent ones its mean is not 0 but about
    `(bins - 1)(values - 1) / 2N`.

    Args:
        latents: `[N, D]`.
        factors: `[N, F]`, whole numbers.
        bins: how many.

    References: as of `mutual_information_gap`; L. Paninski, Estimation of Entropy and Mutual
    Information, Neural Computation 2003, for the bias.
    """
    latents, factors = _checked(latents, factors, fewest=1)
    if not is_integer(bins) or bins < 2:
        raise ValueError(
            f"`bins` is into how many each latent is cut. Expected: 2 or more. Received: {bins!r}."
        )
    cut = np.stack([_cut(z, bins) for z in latents.T], axis=1)
    return np.array([[_information(z, v) for v in factors.T] for z in cut.T])


def mutual_information_gap(latents: np.ndarray, factors: np.ndarray, bins: int = BINS) -> float:
    """MIG: the mean over factors of `(I_1 - I_2) / H(v)`, of the two latents that know most.

    1 where one latent says all of a factor and no other anything of it, 0 where two say as much.
    It is of the values of `latents`: where those are means of q(z|x), its noise does not count.

    Args:
        latents: `[N, D]`, D at least 2.
        factors: `[N, F]`, whole numbers.
        bins: into how many of equal width each latent is cut.

    Raises:
        ValueError: if latents or factors are not of these shapes, are not finite, or a factor is
            constant.

    References: R. T. Q. Chen, X. Li, R. Grosse and D. Duvenaud, Isolating Sources of
    Disentanglement in VAEs, NeurIPS 2018. The bins are those of F. Locatello et al., Challenging
    Common Assumptions in the Unsupervised Learning of Disentangled Representations, ICML 2019.
    """
    latents, factors = _checked(latents, factors)
    information = np.sort(mutual_information(latents, factors, bins), axis=0)
    entropies = [_information(v, v) for v in factors.T]
    return float(np.mean((information[-1] - information[-2]) / entropies))


def separated_attribute_predictability(
    latents: np.ndarray, factors: np.ndarray, seed: int = 0
) -> float:
    """SAP: the mean over factors of the gap between the two latents that predict it best.

    One latent predicts a factor by thresholds: a decision tree with as many leaves as the factor
    has values, classes weighed alike, fitted on a random half. Its score is the balanced
    accuracy on the other half.

    Args:
        latents: `[N, D]`, D at least 2.
        factors: `[N, F]`, whole numbers.
        seed: of the split.

    Raises:
        ValueError: as `mutual_information_gap`.

    References: A. Kumar, P. Sattigeri and A. Balakrishnan, Variational Inference of
    Disentangled Latent Concepts from Unlabeled Observations, ICLR 2018.
    """
    latents, factors = _checked(latents, factors)
    train, test = _halves(len(latents), seed)
    scores = np.sort([[_score(z, v, train, test) for v in factors.T] for z in latents.T], axis=0)
    return float(np.mean(scores[-1] - scores[-2]))


@dataclasses.dataclass(frozen=True, eq=False)
class DCI:
    """Disentanglement, completeness and informativeness, each from 0 to 1.

    Attributes:
        disentanglement: whether a latent is of one factor.
        completeness: whether a factor is in one latent.
        informativeness: the accuracy of all latents together, the mean over factors.
        importances: of each latent for each factor, `[D, F]`.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importances: np.ndarray


def dci(latents: np.ndarray, factors: np.ndarray, seed: int = 0) -> DCI:
    """DCI of a random forest that predicts each factor from all latents.

    A forest of 50 trees, each split of which may take any latent, is fitted on a random half; the
    importances are its mean decreases of impurity, the accuracy is that on the other half. (Where
    a split may take some latents only, those of noise are given importance, too.)

    Args:
        latents: `[N, D]`, D at least 2.
        factors: `[N, F]`, whole numbers; F at least 2.
        seed: of the split and of the forests.

    Raises:
        ValueError: as `mutual_information_gap`.

    References: C. Eastwood and C. K. I. Williams, A Framework for the Quantitative Evaluation of
    Disentangled Representations, ICLR 2018.
    """
    latents, factors = _checked(latents, factors)
    if factors.shape[1] < 2:
        raise ValueError(
            "`factors` of dci are compared with each other. Expected: [N, F], F at least 2. "
            f"Received: shape {list(factors.shape)}."
        )
    train, test = _halves(len(latents), seed)
    # One forest after the other: it is larger than the data that it is fitted on.
    found = [_forest(latents, v, train, test, seed) for v in factors.T]
    importances = np.stack([importance for importance, _ in found], axis=1)
    return DCI(
        concentration(importances),
        concentration(importances.T),
        float(np.mean([accuracy for _, accuracy in found])),
        importances,
    )


def concentration(importances: np.ndarray) -> float:
    """`sum_d rho_d (1 - H_F(P_d))`: how much of each row `[D, F]` is in one place.

    P_d is row d over its sum, H_F its entropy to the base F, rho_d the row's share of all.
    Of importances it is the disentanglement, of their transpose the completeness; 0 where
    nothing is of any importance.
    """
    total = importances.sum(axis=1, keepdims=True)
    shares = np.divide(importances, total, out=np.zeros_like(importances), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies = -(shares * logs).sum(axis=1) / np.log(importances.shape[1])
    return float(total[:, 0] @ (1 - entropies) / total.sum()) if total.any() else 0.0


def _forest(
    latents: np.ndarray, v: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """The importance of each latent for a factor, and the accuracy of all together."""
    from sklearn.ensemble import RandomForestClassifier  # a second to import, and for this alone

    forest = RandomForestClassifier(TREES, max_features=None, random_state=seed % 2**32)
    forest.fit(latents[train], v[train])
    return forest.feature_importances_, forest.score(latents[test], v[test])


def _score(z: np.ndarray, v: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_leaf_nodes=len(np.unique(v)), class_weight="balanced", random_state=0
    )
    tree.fit(z[train, None], v[train])
    return balanced_accuracy_score(v[test], tree.predict(z[test, None]))


def _halves(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = generator(seed).permutation(size)
    return order[: size // 2], order[size // 2 :]


def _cut(z: np.ndarray, bins: int) -> np.ndarray:
    """The number of each value's bin; the largest value is in the last."""
    low, high = z.min(), z.max()
    width = (high - low) / bins or 1.0
    return np.minimum(((z - low) / width).astype(int), bins - 1)


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """`sum p log(p / (p_a p_b))` in nats; of a value with itself, its entropy.

    Over the pairs that occur, which are no more than the rows, however many values there are.
    """
    _, of_a, in_a = np.unique(a, return_inverse=True, return_counts=True)
    _, of_b, in_b = np.unique(b, return_inverse=True, return_counts=True)
    pairs, counts = np.unique(of_a * len(in_b) + of_b, return_counts=True)
    rows, columns = np.divmod(pairs, len(in_b))
    p, product = counts / len(a), in_a[rows] * in_b[columns] / len(a) ** 2
    return float((p * np.log(p / product)).sum())


def _checked(
    latents: np.ndarray, factors: np.ndarray, fewest: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    latents = floats(latents, "latents", f"finite numbers, [N, D], D at least {fewest}")
    if latents.ndim != 2 or latents.shape[1] < fewest or not np.isfinite(latents).all():
        raise ValueError(
            f"`latents` are the values of D dimensions. Expected: finite, [N, D], D at least "
            f"{fewest}. Received: shape {list(latents.shape)}, "
            f"{int((~np.isfinite(latents)).sum())} values not finite."
        )
    factors = np.asarray(factors)
    if factors.ndim != 2 or not factors.shape[1] or factors.dtype.kind not in "iub":
        raise ValueError(
            f"`factors` are the known classes of each x. Expected: whole numbers, "
            f"[{len(latents)}, F]. Received: dtype {factors.dtype}, shape {list(factors.shape)}. "
            "Cut continuous factors into classes first; a single one is factors[:, None]."
        )
    if len(factors) != len(latents):
        raise ValueError(
            "`factors` go with `latents`, row by row. Expected: "
            f"{len(latents)} rows. Received: {len(factors)}."
        )
    constant = [f for f in range(factors.shape[1]) if len(np.unique(factors[:, f])) < 2]
    if constant:
        raise ValueError(
            f"`factors` must vary. Expected: two values at least. Received: factor {constant[0]} "
            "is constant. Leave it out."
        )
    return latents, factors.astype("int64")
