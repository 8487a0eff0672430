"""Renders the music and trains the demonstration checkpoints on it; see training/README.md. Not part of the installed package."""
