"""A headless browser, and made-up nodes behind the embedded server."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import made_up
import pytest
from axe_core_python.selenium import Axe
from msgspec import Struct
from nodes import wait_for

from darc.monitor.cluster_watch import ClusterStatus
from darc.monitor.page.live_page import LivePages
from darc.monitor.page.page_server import StatusServer
from darc.monitor.page.publisher_settings import PublisherSettings
from darc.monitor.page.render_page import Renderer
from darc.monitor.problems import find_problems
from darc.web.style import Colours

#: Where screenshots are kept, if somebody wants to look at them: they take their time.
OUTPUT = os.environ.get("DARC_SCREENSHOTS")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--disable-dev-shm-usage"),
    # One process for all pages: to start one for each page takes a third of the time.
    *("--in-process-gpu", "--renderer-process-limit=1", "--disable-site-isolation-trials"),
    "--disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess",
)


@cache
def renderer(results: str = "", web_dir: Path | None = None) -> Renderer:
    settings = PublisherSettings(
        targets=(),
        own=made_up.MASTER,
        service="status_website",
        context=made_up.CONTEXT,
        colours=Colours("green", "red", "grey"),
        interval=10.0,
        timeout=1.0,
        web_dir=web_dir or Path("/nowhere"),
        address=None,
        max_pages=1,
        results=results,
    )
    return Renderer(settings)


def made_live(
    cluster: ClusterStatus,
    interval: float = 10.0,
    results: str = "",
    web_dir: Path | None = None,
) -> LivePages:
    """What is served of a cluster."""
    live = LivePages(renderer(results, web_dir), interval)
    live.publish(cluster, find_problems(cluster, made_up.CONTEXT))
    return live


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def files(directory: Path) -> Iterator[str]:
    """A web server that knows nothing of DARC."""
    handler = partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


class Site(Struct):
    """An embedded server, and what it serves."""

    server: StatusServer
    live: LivePages
    web_dir: Path

    def publish(self, cluster: ClusterStatus) -> None:
        self.live.publish(cluster, find_problems(cluster, made_up.CONTEXT))

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


class Browser(Struct):
    """A headless Chromium."""

    driver: Any

    def show(self, url: str, width: int = 1440, height: int = 900, scheme: str = "light") -> None:
        """Open a page in a window of a size."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            *(("width", width), ("height", height)),
            *(("deviceScaleFactor", 1), ("mobile", width < 700)),
        )
        self.command(
            "Emulation.setEmulatedMedia",
            ("features", [{"name": "prefers-color-scheme", "value": scheme}]),
        )
        self.driver.get("about:blank")
        self.driver.get_log("browser")  # of pages before
        self.driver.get(url)
        # On a busy machine, a page is there before its window has the size.
        has_size = "return matchMedia(`(width: ${arguments[0]}px)`).matches"
        wait_for(lambda: self.run(has_size, width), what=f"a window of {width} pixels")

    def command(self, name: str, *arguments: tuple[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(name, dict(arguments))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """What of an element is seen; of one replaced right now, what comes next."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return " ".join(str(self.run(script, selector)).split())

    def attribute(self, selector: str, name: str) -> str:
        script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? ''"
        return str(self.run(script, selector, name))

    def serious(self) -> list[tuple[str, str]]:
        """What axe has found wrong with the page, and is serious."""
        found = Axe().run(self.driver)["violations"]
        return [
            (one["id"], node["html"][:200])
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def complaints(self) -> list[str]:
        """What the browser has found wrong with the page."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self, name: str, *, whole: bool = False) -> None:
        if OUTPUT is None:
            return
        Path(OUTPUT).mkdir(exist_ok=True)
        size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        arguments = [("captureBeyondViewport", True), ("clip", clip)] if whole else []
        data = self.command("Page.captureScreenshot", *arguments)["data"]
        (Path(OUTPUT) / f"{name}.png").write_bytes(base64.b64decode(data))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium; without it tests are skipped, but in continuous integration they fail."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        reason = "chromium and chromedriver are not installed (chromium, chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("chromium")
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    made.set_page_load_timeout(60)
    made.set_script_timeout(60)
    try:
        yield Browser(made)
    finally:
        made.quit()
        shutil.rmtree(profile, ignore_errors=True)
