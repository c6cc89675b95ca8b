from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from ri_analysis.ui import limited

    st.session_state.setdefault("height", 2.0)
    st.session_state.setdefault("seed", 3)
    st.write(f"height {limited.number_input(st, 'Height', 1.0, 20.0, key='height')}")
    st.write(f"seed {limited.number_input(st, 'Seed', 0, 9, key='seed', step=1)}")


@pytest.mark.parametrize(
    ("key", "typed", "used", "said"),
    [
        ("height", 99.5, "height 20.0", "You typed 99.5. Allowed: 1 to 20; 20 is used."),
        ("height", -1.0, "height 1.0", "You typed −1. Allowed: 1 to 20; 1 is used."),
        ("seed", 10, "seed 9", "You typed 10. Allowed: 0 to 9; 9 is used."),
    ],
)
def test_a_number_out_of_range_is_replaced_and_that_is_said(key: str, typed: float, used: str, said: str) -> None:
    app = AppTest.from_function(page).run()
    assert not app.caption
    app.number_input(key=key).set_value(typed).run()
    assert not app.exception
    assert [item.value for item in app.caption] == [said]
    assert used in [item.value for item in app.markdown]
    app.number_input(key=key).set_value(5).run()
    assert not app.caption
