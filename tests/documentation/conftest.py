"""The site is looked at in a browser."""

from browsing import browser, look

__all__ = ["browser", "look"]
