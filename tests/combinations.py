"""Which combinations of parts there are, and few of them that cover all pairs."""

import itertools
import os
import zlib

from parts import LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS, make_vae

from keras_vae.conditions import Vector
from keras_vae.legality import require_legal


def first_of_each(parts):
    """One example of each family, and those with another gradient."""
    by_family = {name.split("-")[0]: name for name in reversed(parts)}
    estimators = [name for name in parts if name.endswith(("-stl", "-score", "-dreg"))]
    return {name: parts[name] for name in dict.fromkeys([*by_family.values(), *estimators])}


SLOTS = tuple(first_of_each(parts) for parts in (POSTERIORS, PRIORS, LIKELIHOODS, OBJECTIVES))
# What they need of q(z|x) shows only when there is one.
ASK_OF_DENSITIES = ("BetaTCVAE", "DIPVAE")
ALL = bool(os.environ.get("KERAS_VAE_ALL_COMBINATIONS"))  # hours, not minutes


def refusal(names):
    """Why these parts make no model, or None."""
    posterior, prior, likelihood, objective = (
        slot[name]() for slot, name in zip(SLOTS, names, strict=True)
    )
    condition = Vector(2) if prior.conditional else None
    try:
        require_legal(posterior, prior, likelihood, objective, condition)
    except ValueError as error:
        return str(error)
    if names[3].split("-")[0] in ASK_OF_DENSITIES:
        try:
            make_vae(*(slot[name] for slot, name in zip(SLOTS, names, strict=True)))
        except ValueError as error:
            return str(error)
    return None


def legality():
    """Which pairs of parts are legal, (slot, name, slot, name) -> bool; likelihoods all are."""
    plain = "Bernoulli"
    pairs = {}
    for q, p in itertools.product(SLOTS[0], SLOTS[1]):
        # A bound that asks nothing of z but that it can be drawn.
        pairs[0, q, 1, p] = refusal((q, p, plain, "ELBO-score")) is None
    for q, bound in itertools.product(SLOTS[0], SLOTS[3]):
        prior = next((p for p in SLOTS[1] if pairs[0, q, 1, p]), None)
        pairs[0, q, 3, bound] = prior is not None and refusal((q, prior, plain, bound)) is None
    return pairs


# Posterior and prior share z, the bound is made of both; what a likelihood is given is z,
# whatever it was drawn from, and what it gives is one number, whatever is made of it.
PAIRED = ((0, 1), (0, 3), (1, 3))


def covering():
    """Legal combinations in which every legal pair of `PAIRED` slots and every likelihood occurs."""
    legal = legality()
    ok = lambda names: legal[0, names[0], 1, names[1]] and legal[0, names[0], 3, names[3]]  # noqa: E731
    if ALL:
        return [names for names in itertools.product(*SLOTS) if ok(names)]
    triples = [names for names in itertools.product(*SLOTS[:2], [""], SLOTS[3]) if ok(names)]
    missing = set().union(*map(covered, triples))
    chosen, likelihoods = [], itertools.cycle(SLOTS[2])
    for names in sorted(triples, key=lambda names: hash_of(names)):
        if len(covered(names) & missing) >= 2:
            chosen.append(names)
            missing -= covered(names)
    for names in sorted(triples, key=lambda names: hash_of(names)):
        if covered(names) & missing:
            chosen.append(names)
            missing -= covered(names)
    return [(q, p, next(likelihoods), bound) for q, p, _, bound in chosen]


def covered(names):
    """The pairs that a combination has."""
    return {(a, names[a], b, names[b]) for a, b in PAIRED}


def hash_of(names):
    """An order that is the same in every process, and no alphabet's."""
    return zlib.crc32("-".join(names).encode())
