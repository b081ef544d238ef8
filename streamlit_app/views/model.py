"""x"""

import app_state
import streamlit as st

st.title("model")
st.write(app_state.model().title)
