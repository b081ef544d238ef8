"""x"""

import app_state
import streamlit as st

st.title("serving")
st.write(app_state.model().title)
