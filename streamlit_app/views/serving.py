"""Page: the same pages on a served model."""

import app_pictures
import app_state
import numpy as np
import pandas as pd
import streamlit as st
from app_model import Served


def main() -> None:
    """Where the server is; then what it serves, and how long its answers take."""
    st.title("Serving")
    st.write(
        "Point the pages at a server, TensorFlow Serving or `keras-vae serve`, and those that look at "
        "a model ask that instead of the one in this process. A served model answers signatures: functions "
        "of x, z and seeds. What they do not tell, such as its weights, no page can show."
    )
    choose_server()
    if "served" in st.session_state:
        shown = app_state.served(*st.session_state["served"])
        show_server(shown)
    show_calls()


def choose_server() -> None:
    """The form; a server that does not answer is a sentence, and nothing is changed."""
    at, called = st.session_state.get("served", ("localhost:8500", "vae"))
    with st.form("server"):
        left, right = st.columns([2, 1])
        address = left.text_input(
            "Address",
            at,
            key="address",
            max_chars=200,
            help="HOST:PORT for gRPC, http://HOST:PORT for REST.",
        )
        name = right.text_input("Model", called, key="served_name", max_chars=100)
        asked = st.form_submit_button("Connect", type="primary")
    if asked:
        app_state.served.clear(address.strip(), name.strip())
        app_state.served(address.strip(), name.strip())
        st.session_state["served"] = (address.strip(), name.strip())
        st.rerun()


def show_server(shown: Served) -> None:
    """Versions and signatures, as the server tells them."""
    found = shown.client.metadata()
    st.success(f"The pages show **{app_state.literal(shown.title)}**.", icon=":material/dns:")
    versions = [(v.version, v.state, v.error) for v in shown.client.status()]
    st.subheader("Versions")
    st.dataframe(pd.DataFrame(versions, columns=["version", "state", "error"]), hide_index=True)
    st.subheader("Signatures")
    rows = [
        (name, _specs(signature.inputs), _specs(signature.outputs))
        for name, signature in sorted(found.signatures.items())
    ]
    st.dataframe(pd.DataFrame(rows, columns=["signature", "inputs", "outputs"]), hide_index=True)
    if st.button("Ask for 16 draws", help="One request of the signature generate, to time it."):
        x = app_state.ask(shown, "generate", seed=np.arange(16))["x"]
        caption = "16 draws from p(x|z), at z from the prior"
        st.image(app_pictures.grid(list(x), app_pictures.shades(x)), caption, alt=caption)


def show_calls() -> None:
    """How long the answers of this visit took."""
    calls = pd.DataFrame(list(app_state.calls()), columns=list(app_state.Call._fields))
    st.subheader("Latency of this visit's calls")
    if calls.empty:
        st.caption("No call yet. Open another page.")
        return
    by = ["model", "signature"]
    grouped = calls.groupby(by)["milliseconds"]
    table = grouped.agg(calls="count", median="median", slowest="max", latest="last")
    table["rows of the latest"] = calls.groupby(by)["rows"].last()
    st.dataframe(
        table.reset_index(),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(f"{name}, ms", format="%.1f")
            for name in ("median", "slowest", "latest")
        },
    )
    st.caption(
        f"The last {app_state.CALLS} calls, measured at the page: of a served model the network is in it."
    )


def _specs(specs: dict) -> str:
    """`x [*, 8, 8, 1]`, and so on."""
    return ", ".join(
        f"{name} [{', '.join('*' if n is None else str(n) for n in spec.shape)}]"
        for name, spec in specs.items()
    )


main()
