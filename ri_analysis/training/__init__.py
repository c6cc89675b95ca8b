"""Training a tower on images: which weights move, in which batches, within which memory, and from where it resumes."""
