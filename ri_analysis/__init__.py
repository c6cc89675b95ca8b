"""Cross-task interference in model merging: measure it, resolve it before merging, look at it.

Notation follows Ramesh et al., "Resolving Interference" (arXiv 2603.13467): θ₀ pretrained weights, θ_t = θ₀ + τ_t
the expert of task t with task vector τ_t, h_t its frozen head, θ_m the merged model, f(x; θ) the L2-normalised
output of the vision tower.
"""

__version__ = "0.1.0"
