"""The documentation's site: what of it is generated, and how it is built (`make docs`). Not installed."""

import os
import shutil


def chromium() -> str | None:
    """The browser in which the report and the site are looked at, if it is here."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def environment() -> dict[str, str]:
    """For commands of the harness: a page must not write into the reader's own leaderboard."""
    return {name: value for name, value in os.environ.items() if name not in ("HARNESS_DB", "HARNESS_PLUGINS")}
