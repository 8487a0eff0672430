"""Evaluation and leaderboard harness for music enhancement for people with hearing loss."""

__version__ = "0.2.0"
