"""The documentation's site: what of it is generated, and how it is built (`make docs`). Not installed."""
