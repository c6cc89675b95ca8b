"""Figures and tables → files: images for papers, tables, and one report that needs nothing else."""
