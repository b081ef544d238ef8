"""x"""

import app_state
import streamlit as st

st.title("train")
st.write(app_state.model().title)
