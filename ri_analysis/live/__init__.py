"""Estimates of a merge while a slider moves: from a subset of the images, or between measured points."""
