"""Results as data frames, and evaluation and scoring for notebooks and training scripts."""
