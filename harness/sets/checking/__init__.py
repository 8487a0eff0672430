"""Checking evaluation sets: everything that is wrong with one at once, in the words of those who made it."""
