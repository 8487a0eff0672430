"""Causality measured: how far into the future a system looks, and how late its output is."""
