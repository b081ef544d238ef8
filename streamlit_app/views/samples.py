"""x"""

import app_state
import streamlit as st

st.title("samples")
st.write(app_state.model().title)
