"""A headless Chromium driven through chromedriver's own protocol; only the standard library."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

missing = None if CHROMIUM and DRIVER else "needs chromium and chromedriver"
"""Why no page can be opened here; None where one can."""

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1400,1000"),
)


class Browser:
    """One page. Use it in a ``with``, or call ``close``.

    Args:
        patience: seconds that an answer of the browser may take.
    """

    def __init__(self, patience: float = 60) -> None:
        self.patience = patience
        self._profile = tempfile.mkdtemp(prefix="granum-chromium-")
        self._driver = subprocess.Popen(
            [str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            self._base = f"http://127.0.0.1:{self._port()}/session"
            options = {"binary": CHROMIUM, "args": [*_FLAGS, f"--user-data-dir={self._profile}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options}
            wanted["goog:loggingPrefs"] = {"browser": "ALL"}
            made = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self._base += f"/{made['sessionId']}"
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found[1])
        raise RuntimeError("chromedriver did not start")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=self.patience) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Load a page (``http://`` or ``file://``)."""
        self._ask("POST", "/url", {"url": url})

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression in the page."""
        body = {"script": f"return ({script})", "args": list(arguments)}
        return self._ask("POST", "/execute/sync", body)

    def text(self) -> str:
        """The text of the page as it is seen."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait(self, ready: Callable[[Browser], Any], seconds: float = 40) -> Any:
        """Asks until the answer is true.

        Raises:
            TimeoutError: it never is; says what the page shows.
        """
        end = time.monotonic() + seconds
        while True:
            found = ready(self)
            if found:
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"the page shows:\n{self.text()[:2000]}\n{self.log()[-5:]}")
            time.sleep(0.25)

    def log(self) -> list[str]:
        """Messages of the page's console so far, each reported once."""
        return [m["message"] for m in self._ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: str | Path) -> Path:
        """Write what is seen as a PNG."""
        target = Path(path)
        target.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))
        return target

    def close(self) -> None:
        """End the browser and remove its profile."""
        with contextlib.suppress(OSError):
            self._ask("DELETE", "")
        self._stop()

    def _stop(self) -> None:
        self._driver.terminate()
        try:
            self._driver.wait(10)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        if self._driver.stdout is not None:
            self._driver.stdout.close()
        shutil.rmtree(self._profile, ignore_errors=True)
