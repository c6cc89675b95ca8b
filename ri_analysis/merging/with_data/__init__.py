"""Methods that look at task images: what task data would buy. They never see a label."""
