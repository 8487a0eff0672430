"""A real browser that looks at pages, and keeps account of what goes wrong on them: fixtures for several folders."""

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from website import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; without it tests are skipped, unless every test was asked for."""
    program = chromium()
    if program is None:
        if os.environ.get("HARNESS_TEST_ALL"):
            pytest.fail("Chromium is not installed: make browser")
        pytest.skip("Chromium is not installed: make browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=program)
        yield found
        found.close()


class Watched:
    """A page of the browser that keeps account of what went wrong on it.

    Attributes:
        page: Playwright's page.
        problems: messages on the console, errors, and requests that left or failed.
    """

    def __init__(self, page: Any, allowed: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on(
            "console",
            lambda message: self.problems.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._check(request.url, allowed))
        page.on("requestfailed", self._failed)

    def _check(self, url: str, allowed: str) -> None:
        if not url.startswith((allowed, "data:", "blob:")):
            self.problems.append(f"asked for {url}")

    def _failed(self, request: Any) -> None:
        # Chromium stops reading a sound file when it has enough; and a page's icon, and the worker of the
        # documentation's search, when the next page is opened.
        dropped = request.resource_type == "media" or "/favicon.png" in request.url or "/workers/search." in request.url
        if not (dropped and request.failure == "net::ERR_ABORTED"):
            self.problems.append(f"{request.url} failed: {request.failure}")


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Watched]]:
    """`look(url, width=1280, scheme="light", script="")`: open a page, after a script; nothing may go wrong on any."""
    opened: list[Watched] = []
    contexts = []

    def open_page(url: str, width: int = 1280, scheme: str = "light", script: str = "", **options: Any) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        contexts.append(context)
        allowed = url if url.startswith("file:") else url[: url.index("/", 8) + 1]
        watched = Watched(context.new_page(), "file:" if allowed.startswith("file:") else allowed)
        opened.append(watched)
        watched.page.add_init_script(script)
        watched.page.goto(url)
        return watched

    yield open_page
    found = [problem for watched in opened for problem in watched.problems]
    for context in contexts:
        context.close()
    assert found == [], "\n".join(found)


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[[Path], str]]:
    """`served(folder)`: the address under which a local server shows a folder."""
    servers = []

    def serve(folder: Path) -> str:
        handler = functools.partial(_Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
