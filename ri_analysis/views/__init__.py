"""What single pages are made of. No view knows of another: what two of them need stands in `ui`."""
