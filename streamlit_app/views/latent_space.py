"""x"""

import app_state
import streamlit as st

st.title("latent_space")
st.write(app_state.model().title)
