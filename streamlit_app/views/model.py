"""Page 1: what the model assumes, in numbers and as a picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import app_state
import keras
import streamlit as st
import tensorflow as tf
from app_diagram import Flow, picture
from app_model import Served, Shown

from keras_vae.assumptions import Bound
from keras_vae.runs import Run
from keras_vae.statement import Statement
from keras_vae.vae import VAE

if TYPE_CHECKING:
    from client import Signature, TensorSpec


def main() -> None:
    """The page."""
    shown = app_state.model()
    st.title("What this model assumes")
    if shown.vae is not None and shown.run is not None:
        trained_model(shown.key, shown.vae, shown.run)
    elif isinstance(shown, Served):
        served_model(shown)


def trained_model(key: str, vae: VAE, run: Run) -> None:
    """A model that is at hand: all of it is known."""
    stated = app_state.statement(key, vae)
    st.caption(
        f"The run {run.folder.name}. Its two networks compute the *parameters* of q(z|x) and of "
        "p(x|z); what is drawn from the one goes into the other."
    )
    st.html(picture(flow(key, vae)))
    numbers(run, stated.bound)
    st.header("Three distributions")
    distribution("q(z|x), the posterior", stated.posterior)
    distribution("p(z), the prior", stated.prior)
    if stated.ex_post is not None:
        distribution("What samples are drawn from, in place of p(z)", stated.ex_post)
    distribution("p(x|z), the likelihood", stated.likelihood)
    bound(stated.bound)


@st.cache_data(max_entries=16, show_spinner=False)
def flow(key: str, _vae: VAE) -> Flow:
    """What the picture shows of the model: one x of zeros goes through it."""
    vae = _vae
    x = tf.zeros((1, *vae.likelihood.event_shape), vae.density_dtype)
    features = vae.encoder(vae.likelihood.encoder_input(x))
    decoded = vae.decoder(tf.zeros((1, vae.prior.latent_size), vae.density_dtype))
    return Flow(
        x=vae.likelihood.event_shape,
        encoder=network(vae.encoder),
        features=_shape(features),
        posterior=type(vae.posterior).__name__,
        posterior_parameters={k: _shape(v) for k, v in vae.posterior(features).items()},
        latent_size=vae.prior.latent_size,
        prior=type(vae.prior).__name__,
        decoder=network(vae.decoder),
        decoder_features=_shape(decoded),
        likelihood=type(vae.likelihood).__name__,
        likelihood_parameters={k: _shape(v) for k, v in vae.likelihood(decoded).items()},
    )


def network(layer: keras.layers.Layer) -> str:
    """The layers of a network, and how many weights they have."""
    kinds = [type(each).__name__ for each in layer.layers] if isinstance(layer, keras.Model) else []
    counted = [f"{n} {k}" if (n := kinds.count(k)) > 1 else k for k in dict.fromkeys(kinds)]
    return f"{', '.join(counted or [type(layer).__name__])}; {layer.count_params():,} weights"


def _shape(batch: tf.Tensor) -> tuple[int, ...]:
    return tuple(batch.shape[1:])


def numbers(run: Run, stated: Bound) -> None:
    """What the run measured on data that the model has not seen."""
    st.header("The numbers of this run")
    if not (run.folder / "metrics.json").exists():
        st.info("The run has written no numbers: it is not at its end, or was stopped before.")
        return
    found = run.metrics
    test = found["test"]
    with st.container(horizontal=True):
        metric("Held-out bound, nats", estimate(test["elbo"]), "for each example; larger is better")
        metric(
            "Baseline without z, nats",
            estimate(test["independent_baseline"]),
            "the same p(x|z) with one set of parameters for all x: independent values",
        )
        metric("Above it, nats", f"{test['margin']:.2f}", "what the latent variable is worth")
        metric("Parameters", f"{found['parameters']:,}", "numbers that the model consists of")
        metric("β", f"{stated.beta:g}", "the weight of the KL")
        metric("K", f"{stated.num_samples}", "draws of z for each x in training")
        metric("KL", stated.kl, "between q(z|x) and p(z): a closed form, or the mean over draws")
    protocol = found["protocol"]
    st.caption(
        f"On {test['elbo']['num_examples']:,} held-out examples, {test['draws_of_z']} draws of z each; "
        f"after ± the standard error of the mean, in {test['unit']}. Data: {protocol['data']}; "
        f"{protocol['split']}; {protocol['scaling']}; binarisation: {protocol['binarisation']}; seed "
        f"of the data {protocol['seed']}, of the training {found['seed']}; {found['epochs']} epochs. "
        "Numbers compare only where all of this is the same."
    )


def metric(label: str, value: str, meaning: str) -> None:
    """One number, as wide as it needs to be."""
    st.metric(label, value, help=meaning, width="content", border=True)


def estimate(found: dict[str, float]) -> str:
    """A mean and its standard error."""
    return f"{found['mean']:.2f} ± {found['standard_error']:.2f}"


def distribution(title: str, stated: Statement) -> None:
    """A distribution: its formula, and where its parameters come from."""
    with st.container(border=True):
        st.subheader(f"{title}: {stated.family}")
        equation(stated.equation)
        sources = [f"- `{name}`: {source}" for name, source in stated.parameters.items()]
        st.markdown("\n".join(sources))
        st.caption(
            f"A value has the shape {list(stated.event_shape)} and lies in {stated.support}. "
            f"Learned: {', '.join(stated.learned) or 'nothing'}. "
            f"Fixed: {', '.join(stated.fixed) or 'nothing'}."
        )


def bound(stated: Bound) -> None:
    """What is maximised, and whether it is below log p(x)."""
    st.header(f"The bound: {stated.family}")
    with st.container(border=True):
        equation((r"\log p(x) \;\ge\; " if stated.is_lower_bound else "") + stated.equation)
        if not stated.is_lower_bound:
            st.markdown("This is maximised, and is **no lower bound** on log p(x).")
        st.markdown(
            f"- The KL that is logged is **{stated.kl}**: "
            + ("a closed form." if stated.kl == "exact" else "the mean over the draws of z.")
            + f"\n- The weight of the KL is {stated.beta:g}, the draws of z are K = {stated.num_samples}."
            f"\n- Its gradient is estimated by {stated.estimator}."
        )
        equation(stated.kl_equation)


def equation(tex: str) -> None:
    """A formula; where it says what its letters are, that has lines of its own."""
    for line in tex.split(r",\quad "):
        st.latex(line)


def served_model(shown: Served) -> None:
    """A model behind a server: what its contract tells."""
    signatures = shown.client.metadata().signatures
    st.caption(shown.title)
    st.html(picture(served_flow(shown, signatures)))
    st.info(
        "A server answers with numbers. Which families the distributions are of, what the bound "
        "is, what the networks are and what was measured are no part of the contract: they are in "
        "the statement `assets.extra/assumptions.md` beside the model, which a server does not send."
    )
    st.header("What it answers")
    st.table(
        {
            "signature": [f"`{name}`" for name in signatures],
            "inputs": [_specs(found.inputs) for found in signatures.values()],
            "outputs": [_specs(found.outputs) for found in signatures.values()],
        },
        hide_index=True,
        border="horizontal",
        alt="The signatures of the served model with their inputs and outputs",
    )
    st.caption("Each input and output leads with the batch axis, left out here. The unit is nats.")


def served_flow(shown: Shown, signatures: Mapping[str, "Signature"]) -> Flow:
    """What the picture shows of a model of which the contract alone is known."""

    def parameters(signature: str) -> dict[str, tuple[int | None, ...]]:
        outputs = signatures[signature].outputs
        return {name: spec.shape[1:] for name, spec in outputs.items() if name != "mean"}

    return Flow(
        x=shown.event_shape,
        encoder="",
        features=None,
        posterior="",
        posterior_parameters=parameters("encode"),
        latent_size=shown.latent_size,
        prior="",
        decoder="",
        decoder_features=None,
        likelihood="",
        likelihood_parameters=parameters("decode"),
    )


def _specs(specs: Mapping[str, "TensorSpec"]) -> str:
    return "; ".join(
        f"`{name}` {_dtype(spec)} {list(spec.shape[1:])}" for name, spec in specs.items()
    )


def _dtype(spec: "TensorSpec") -> str:
    return "" if spec.dtype is None else str(spec.dtype)


main()
