"""x"""

import app_state
import streamlit as st

st.title("derivation")
st.write(app_state.model().title)
