"""Page: choose data, families and a bound, see what is refused and why, and train."""

import os
import shlex
import shutil
import uuid
from typing import Any

import app_recipes
import app_state
import streamlit as st
from app_training import Busy, Training, follow

from keras_vae.data.sets import BINARISATIONS
from keras_vae.recipe import (
    LIKELIHOODS,
    NETWORKS,
    OBJECTIVES,
    POSTERIORS,
    PRIORS,
    Recipe,
    options_of,
)

OF_THE_DATA = "what suits the data"
SLOTS = {
    "posterior": ("q(z|x), the posterior", POSTERIORS),
    "prior": ("p(z), the prior", PRIORS),
    "likelihood": ("p(x|z), the likelihood", LIKELIHOODS),
    "objective": ("The bound", OBJECTIVES),
}


def main() -> None:
    """A recipe, its verdict, and the training."""
    st.title("Train")
    training = st.session_state.get("training")
    if training is not None:
        show_training(training)
        return
    st.write(
        "A model is the statement of three distributions and a bound. Every combination works, or "
        "is refused with the reason."
    )
    if "busy" in st.session_state:
        st.warning(st.session_state.pop("busy"))
    recipe = choose()
    verdict = app_recipes.verdict(recipe)
    if verdict.refusal:
        st.error(f"**Refused.** {app_state.literal(verdict.refusal)}", icon=":material/block:")
    else:
        st.success(f"**A model of {verdict.parameters:,} weights.**", icon=":material/check:")
        st.code(verdict.summary, language=None)
    st.caption("In a shell the same is")
    st.code(
        shlex.join(["keras-vae", "train", *app_recipes.words(recipe)]),
        language="bash",
        wrap_lines=True,
    )
    st.button(
        "Train",
        type="primary",
        disabled=verdict.refusal is not None,
        on_click=start,
        args=(recipe,),
        key="start",
    )


def choose() -> Recipe:
    """The recipe that the widgets say."""
    left, right = st.columns(2)
    with left:
        data = st.selectbox("Data", app_recipes.DATA, key="data")
        binarisation = st.selectbox(
            "Grey values",
            (OF_THE_DATA, *BINARISATIONS),
            key="binarisation",
            help="Bits drawn anew at each visit (dynamic), once (static), by threshold, or none.",
        )
    with right:
        network = st.selectbox("Encoder and decoder", NETWORKS, key="network")
        latent = st.number_input("D, the dimensions of z", 1, 100, 8, key="latent_size")
    chosen: dict[str, Any] = {}
    for column, (slot, (title, families)) in zip(
        [*st.columns(2), *st.columns(2)], SLOTS.items(), strict=True
    ):
        chosen[slot] = _family(column, slot, title, families)
    with st.expander("How it is trained"):
        numbers = _numbers()
    return Recipe(
        data=data,
        binarisation=None if binarisation == OF_THE_DATA else binarisation,
        network=network,
        latent_size=int(latent),
        **chosen,
        **numbers,
    )


def _family(
    column: st.delta_generator.DeltaGenerator, slot: str, title: str, families: dict
) -> str | None:
    """A family and its options, as the command line writes them."""
    optional = (OF_THE_DATA,) if slot == "likelihood" else ()
    default = getattr(Recipe(), slot)
    names = [*optional, *families]
    with column:
        name = st.selectbox(title, names, names.index(default or OF_THE_DATA), key=slot)
        if name == OF_THE_DATA:
            return None
        options = options_of(families[name])
        said = st.text_input(
            f"Options of {name}",
            placeholder=options or "none",
            disabled=not options,
            max_chars=200,
            key=f"options_of_{slot}_{name}",
            help=f"As on the command line, option=value,option=value: {options or 'none'}.",
        )
    return f"{name}:{said.strip()}" if said.strip() else name


def _numbers() -> dict[str, Any]:
    left, middle, right = st.columns(3)
    epochs = left.number_input("Epochs", 1, app_recipes.MAX_EPOCHS, 50, key="epochs")
    batch = middle.number_input("Batch size", 1, 4096, 64, key="batch_size")
    rate = right.number_input(
        "Learning rate", 1e-6, 1.0, 1e-3, step=1e-4, format="%g", key="learning_rate"
    )
    beta = left.number_input("Weight of the KL (beta)", 0.0, 100.0, 1.0, 0.1, key="beta")
    warm_up = middle.number_input("Epochs of its warm-up", 0, 1000, 0, key="warm_up")
    seed = right.number_input("Seed", 0, 2**31 - 1, 0, key="seed")
    return {
        "epochs": int(epochs),
        "batch_size": int(batch),
        "learning_rate": float(rate),
        "beta": None if beta == 1 else float(beta),
        "warm_up": int(warm_up) or None,
        "seed": int(seed),
    }


def start(recipe: Recipe) -> None:
    """Begins the training, in a temporary folder."""
    try:
        st.session_state["training"] = Training(app_recipes.words(recipe))
    except (Busy, OSError) as error:
        st.session_state["busy"] = str(error)


def show_training(training: Training) -> None:
    """Live curves and a button to stop; at the end what came of it, to keep or to leave."""
    follow(training)
    if not training.ended:
        st.button(
            "Stop",
            on_click=training.stop,
            disabled=training.stopped,
            help="Ends with the last whole epoch, and makes the model of it.",
            key="stop",
        )
    elif training.trained:
        _keep(training)
    else:
        st.error(app_state.literal(training.reason()), icon=":material/error:")
    st.button("Another recipe", on_click=forget, args=(training,), key="another")


def _keep(training: Training) -> None:
    metrics = training.run.metrics["test"]
    st.success(
        f"Held-out bound {metrics['elbo']['mean']:.2f} +- {metrics['elbo']['standard_error']:.2f} "
        f"nats per example; a model of independent values reaches "
        f"{metrics['independent_baseline']['mean']:.2f}.",
        icon=":material/check:",
    )
    with st.form("keep"):
        name = st.text_input("Name", "mine", max_chars=40, key="run_name")
        if st.form_submit_button("Keep this run", type="primary"):
            _move(training, name.strip())


def _move(training: Training, name: str) -> None:
    """Into the folder of runs, where every page finds it."""
    if not app_recipes.NAME.fullmatch(name):
        st.error(
            "A name is one to forty of a-z, 0-9 and -, and does not start with -. "
            f"Received: {app_state.literal(repr(name))}."
        )
        return
    target = app_state.runs_folder() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".unfinished-{uuid.uuid4().hex}")
    shutil.copytree(training.run.folder, beside)
    try:
        os.rename(beside, target)  # whole or not at all, and never over another run
    except OSError:
        shutil.rmtree(beside)
        st.error(f"There is a run called {name} already. Choose another name.")
        return
    del st.session_state["training"]
    st.session_state["chosen"] = str(target)
    st.session_state.pop("served", None)
    st.switch_page("views/model.py")


def forget(training: Training) -> None:
    """Back to the recipe; what was not kept is deleted."""
    training.abandon()
    st.session_state.pop("training", None)


main()
