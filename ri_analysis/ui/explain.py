"""The formulas behind the two ideas of the app, and behind a method."""

from __future__ import annotations

import streamlit as st

from ri_analysis.ui.recipes import chosen_method


def formulas() -> None:
    """Explain interference and RI by their formulas, folded up."""
    with st.expander("The formulas of interference and RI"):
        st.markdown(
            "An expert is $\\theta_t = \\theta_0 + \\tau_t$, its head $h_t$ is frozen, $f(x;\\theta)$ is the image "
            "encoder's output. The merged model $\\theta_m$ interferes with task $t$ by"
        )
        st.latex(
            r"\xi_t = \mathbb{E}_{x\sim D_t}\, \mathrm{KL}\big(\operatorname{softmax} h_t f(x;\theta_t)\;\|\;"
            r"\operatorname{softmax} h_t f(x;\theta_m)\big)"
        )
        st.markdown(
            "always measured from the *original* expert, in nats, on the task's own test images. RI minimises, for "
            "each expert separately and on auxiliary images $A$ only,"
        )
        st.latex(
            r"\mathbb{E}_{x\sim A}\Big[\underbrace{\mathrm{KL}\big(h_t f(x;\theta_t)\,\|\,h_t f(x;\theta_0+\tau)\big)}"
            r"_{\text{keep: stay the expert}}+\frac{\alpha}{N-1}\sum_{j\neq t}\underbrace{\mathrm{KL}\big("
            r"h_j f(x;\theta_0)\,\|\,h_j f(x;\theta_0+\tau)\big)}_{\text{free: stay the pretrained model}}\Big]"
        )
        st.caption("Ramesh, Stoica, Iyer, Choshen, Hoffman, Resolving Interference, arXiv 2603.13467.")


def method_details() -> None:
    """Show the chosen method's formula and source, one click away."""
    method = chosen_method()
    with st.expander(f"What {method.title} does"):
        st.markdown(method.summary)
        st.latex(method.formula)
        st.caption(method.reference)
