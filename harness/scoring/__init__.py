"""Submissions become stored scores."""
