"""Renders music and trains the demonstration checkpoints on it; see training/README.md. Not part of the package."""

import os

# Waiting threads that spin starve the others where cores are shared: excerpts are made beside the training.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
