"""What pages share: state, controls, figures in their frame, progress, background jobs, the server around them."""
