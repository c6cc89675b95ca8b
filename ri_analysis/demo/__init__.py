"""The recipe that trains the embedded suite; nothing in here is needed to use it."""
