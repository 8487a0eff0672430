"""Submissions: their manifest, their files, and judging them."""
