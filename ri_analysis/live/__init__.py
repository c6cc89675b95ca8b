"""Estimates of a merge under a moving hand: from a subset of the images, or between measured points."""
