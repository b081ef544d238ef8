"""x"""

import app_state
import streamlit as st

st.title("mistakes")
st.write(app_state.model().title)
