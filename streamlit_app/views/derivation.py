"""Page 5: from log p(x) to the lines of the package, with the numbers of one image."""

import app_glossary
import app_live
import app_state
import pandas as pd
import streamlit as st
from app_model import Shown
from app_pictures import picture, shades
from app_steps import Case
from app_steps_bound import the_bound, the_kl, three_assumptions
from app_steps_error import from_paper_to_code, mean_or_draw, squared_error

import keras_vae

STEPS = (
    ("1. Three assumptions", three_assumptions),
    ("2. The bound", the_bound),
    ("3. The KL of two Normals", the_kl),
    ("4. Why squared error, and its constant", squared_error),
    ("5. The mean, never a draw", mean_or_draw),
    ("6. From the paper to the code", from_paper_to_code),
)


def main() -> None:
    """The page."""
    shown = app_state.model()
    st.title("From the bound to the code")
    st.markdown(
        "What is maximised is log p(x), through a lower bound. No loss was written by hand: it "
        "follows in six steps. Each shows its numbers for one x, and the lines that compute them, "
        "read from the source as this page is made."
    )
    case = chosen(shown)
    for index, (title, step) in enumerate(STEPS):
        with st.expander(title, expanded=index == 0):
            step(case)
    glossary()
    st.caption(
        f"The lines are those of keras_vae {keras_vae.__version__}, which this page runs on."
    )


def chosen(shown: Shown) -> Case:
    """The x of the test set that the visitor chose, and the numbers for it."""
    stated = None if shown.vae is None else app_state.statement(shown.key, shown.vae)
    if shown.vae is None:
        st.info(
            "This model is served: its answers are known, its families, its bound and its "
            "densities are not. The steps show what the contract tells."
        )
    if shown.data is None:
        st.info("There is no data at hand of the shape that this model takes: no x, no numbers.")
        return Case(shown.vae, stated, None, None)
    test = app_state.test_set(shown)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        index = st.number_input(
            "Test example", 0, len(test) - 1, key="derivation_index", width=160, help="Its number."
        )
        seed = st.session_state.setdefault("derivation_seed", 0)
        st.button("Draw again", on_click=draw_again, key="derivation_draw", help="Of z, and of x.")
        x = test[index : index + 1].array()[0]
        st.image(picture(x, shades(x), 72), alt=f"Test example {index}")
    asked, known = numbers(shown.key, shown, index, seed)
    return Case(shown.vae, stated, asked, known)


def draw_again() -> None:
    """Another seed, for this visitor."""
    st.session_state["derivation_seed"] += 1


@st.cache_data(max_entries=64, show_spinner="Computing the numbers ...")
def numbers(
    key: str, _shown: Shown, index: int, seed: int
) -> tuple[app_live.Asked, app_live.Known | None]:
    """What all steps show of one x."""
    x = app_state.test_set(_shown)[index : index + 1].array()[0]
    asked = app_live.asked(_shown, x, seed)
    vae = _shown.vae
    return asked, None if vae is None else app_live.known(vae, x, asked.z, seed)


def glossary() -> None:
    """The two columns of words."""
    st.header("Glossary")
    columns = {"networks": "the words of networks", "probability": "the words of probability"}
    found = pd.DataFrame(app_glossary.GLOSSARY, columns=list(columns.values()))
    st.table(found, hide_index=True, border="horizontal", alt="A glossary of two columns")


main()
