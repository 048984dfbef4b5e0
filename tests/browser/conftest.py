"""Pages in a headless Chromium that has no network, and complains of everything a page should not do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One for all tests of a worker."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable)
        yield chromium
        chromium.close()


@pytest.fixture
def complaints() -> list[str]:
    """Messages and errors of the console, and requests for anything but a page that was visited."""
    return []


@pytest.fixture
def visit(browser: Any, complaints: list[str]) -> Iterator[Callable[..., Any]]:
    """Open a file; at the end of the test there must have been no complaint that the test did not clear."""
    contexts = []

    def visit(path: Path, width: int = 1280, theme: str = "light", **options: Any) -> Any:
        size = {"width": width, "height": 800}
        context = browser.new_context(viewport=size, color_scheme=theme, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        own = path.resolve().as_uri()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "request",
            lambda asked: asked.url.split("#")[0] != own and complaints.append(asked.url),
        )
        page.goto(own)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def overflow() -> Callable[[Any], int]:
    """By how many pixels a page is wider than its window."""
    return lambda page: page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
