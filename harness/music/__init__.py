"""Evaluation sets: reading them, the embedded one, and what brings music to the ears."""
