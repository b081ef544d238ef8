"""x"""

import app_state
import streamlit as st

st.title("one_image")
st.write(app_state.model().title)
