"""The words that teach the two ideas of the app."""

from __future__ import annotations

import streamlit as st

from ri_analysis.ui.recipes import chosen_method

INTERFERENCE = (
    "**Interference** ξ says how far the merged model's predictions have moved from each expert's on the expert's own "
    "task; at 0 the merged model answers exactly like every expert."
)
RI = (
    "**Resolving Interference (RI)** retrains each expert briefly before the merge, on unlabelled images of no task, "
    "so that it stays itself in its own head and stays out of all the others'."
)

# What the sections of the Interference page measure, for whom words are not enough.
FORMULAS = {
    "drift": r"""Drift of the merged model $\theta_m$ on task $t$, by a distance $d$ of the outputs of one image:

$$\mathbb{E}_{x\sim D_t}\; d\big(h_t f(x;\theta_t),\; h_t f(x;\theta_m)\big)$$

With $d$ the KL divergence of the softmaxes it is the interference $\xi_t$. $D_t$ are the task's own test images,
$\theta_t$ is its original expert.""",
    "crosstalk": r"""How far expert $i$ alone moves task $t$'s outputs from the pretrained model's:

$$C_{i\to t}=\mathbb{E}_{x\sim D_t}\,\mathrm{KL}\big(\sigma(h_t f(x;\theta_0))\,\|\,\sigma(h_t f(x;\theta_i))\big)$$

with $\sigma$ the softmax. The free term of RI drives it to zero.""",
    "blocks": r"""Of the centred class tokens $X$ (expert) and $Y$ (merged) after a block, one row an image:

$$1-\frac{\lVert X^\top Y\rVert_F^2}{\lVert X^\top X\rVert_F\,\lVert Y^\top Y\rVert_F}$$

(Kornblith et al. 2019); or the mean of $\lVert x-y\rVert$ in units of the expert's own spread.""",
    "blame": r"""With $P$ the other experts and $\xi_t(S)$ the drift on $t$ when $S$ is merged with expert $t$:

$$\phi_i=\sum_{S\subseteq P\setminus i}\frac{|S|!\,(|P|-|S|-1)!}{|P|!}\,\big[\xi_t(S\cup i)-\xi_t(S)\big]$$

(Shapley 1953). Left out alone: $\xi_t(P)-\xi_t(P\setminus i)$.""",
    "weights": r"""Of a layer's task vectors, with their singular values and vectors $U_i\Sigma_i V_i^\top$ joined side
by side to $U,\Sigma,V$:

$$\lVert (U^\top U-I)\,\Sigma\,(V^\top V-I)\rVert_1$$

the singular task interference (Gargiulo et al. 2025), divided here by $\sum\sigma$.""",
    "plane": r"""$$\sum_{t=1,2}\mathbb{E}_{x\sim D_t}\,\mathbf{1}\big\{\arg\max h_t f(x;\theta_0+\alpha_t\tau_t)\neq
\arg\max h_t f(x;\theta_0+\alpha_1\tau_1+\alpha_2\tau_2)\big\}$$

the weight disentanglement error (Ortiz-Jimenez et al. 2023), from 0 to 2.""",
}


def section(title: str, formula: str) -> None:
    """Draw a section's header, with the formula of what it measures one click away."""
    st.header(title, anchor=False, divider="gray", help=FORMULAS[formula])


def concepts() -> None:
    """Explain interference and RI in two sentences, with the formulas one click away."""
    st.markdown(f"{INTERFERENCE} {RI}")
    with st.expander("The formulas"):
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
