"""The page: what a model has learnt, and what a variational autoencoder is.

keras-vae app [RUN]
"""

import app_state
import streamlit as st

PAGES = {
    "Look": [
        ("views/model.py", "Model", ":material/schema:"),
        ("views/one_image.py", "One image", ":material/image:"),
        ("views/latent_space.py", "Latent space", ":material/scatter_plot:"),
        ("views/samples.py", "Samples", ":material/grid_view:"),
    ],
    "Understand": [
        ("views/derivation.py", "From the bound to the code", ":material/function:"),
        ("views/mistakes.py", "Wrong on purpose", ":material/warning:"),
    ],
    "Do": [
        ("views/train.py", "Train", ":material/model_training:"),
        ("views/serving.py", "Serving", ":material/dns:"),
    ],
}


def main() -> None:
    """Shows the page that the visitor chose, on the model that they chose."""
    st.set_page_config(page_title="keras_vae", page_icon=":material/blur_on:", layout="wide")
    pages = {
        section: [
            st.Page(path, title=title, icon=icon, default=title == "Model")
            for path, title, icon in entries
        ]
        for section, entries in PAGES.items()
    }
    page = st.navigation(pages)
    with st.sidebar, app_state.sentences("sidebar_again"):
        choose_model()
    with app_state.sentences():
        page.run()


def choose_model() -> None:
    """The sidebar: which model all pages show."""
    if "served" in st.session_state:
        address, name = st.session_state["served"]
        st.caption(
            f"The pages show **{app_state.literal(name)}**, served at {address}. Train and Wrong on "
            "purpose have models of their own."
        )
        st.button("Back to a trained run", on_click=leave_server)
        return
    folders = app_state.runs()
    if "chosen" in st.session_state:  # by a page; a widget's own state is set before it is drawn
        chosen = st.session_state.pop("chosen")
        if chosen in map(str, folders):
            st.session_state["folder"] = chosen
    if folders:
        named = [folder.name for folder in folders]
        labels = {
            str(folder): folder.name if named.count(folder.name) == 1 else str(folder)
            for folder in folders
        }
        st.selectbox("Model", labels, format_func=labels.__getitem__, key="folder")
        st.session_state["last_folder"] = st.session_state["folder"]


def leave_server() -> None:
    """Back to the run that was looked at before."""
    st.session_state.pop("served", None)
    if "last_folder" in st.session_state:
        st.session_state["chosen"] = st.session_state["last_folder"]


main()
