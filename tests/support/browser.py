"""A real browser without a window, driven over the DevTools protocol."""

import base64
import json
import os
import subprocess
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tests.support.daemon import eventually

SECONDS = 30.0
_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
]
_OPTIONS += [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]


class Browser:
    """One page of a Chromium with a profile of its own. What it asks for and complains of is noted.

    `local`: names that are this machine for it. What `trust` and `import_pair` put into its store holds from its start.
    """

    def __init__(self, directory: Path, *options: str, local: Sequence[str] = ()) -> None:
        self._profile = directory / "profile"
        self._home = directory / "home"
        here = [f"--host-resolver-rules={', '.join(f'MAP {name} 127.0.0.1' for name in local)}"] if local else []
        self._options = [*options, *here]
        self._number = 0
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def trust(self, root: Path) -> None:
        """Have it believe a CA."""
        self._in_store("certutil", "-A", "-t", "C,,", "-n", root.name, "-i", str(root))

    def import_pair(self, pkcs12: Path) -> None:
        """Give it a certificate of its own, from a file without a password."""
        self._in_store("pk12util", "-i", str(pkcs12), "-W", "")

    def _in_store(self, program: str, *arguments: str) -> None:
        store = self._home / ".pki" / "nssdb"
        if not store.exists():
            store.mkdir(parents=True)
            subprocess.run(["certutil", "-d", f"sql:{store}", "-N", "--empty-password"], check=True, timeout=SECONDS)
        done = subprocess.run(
            [program, "-d", f"sql:{store}", *arguments], capture_output=True, text=True, timeout=SECONDS
        )
        assert not done.returncode, done

    def __enter__(self) -> "Browser":
        command = ["chromium", *_OPTIONS, *self._options, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "HOME": str(self._home)} if self._home.exists() else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with ExitStack() as ending:
            ending.callback(self._end)
            self._page = ending.enter_context(connect(self._address(), max_size=None, compression=None))
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            ending.callback(self.call, "Browser.close")  # its own processes end with it
            self._ending = ending.pop_all()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._ending.close()

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Have the browser do something, and return its answer."""
        self._number += 1
        self._page.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = self._told()
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result

    def asked_for(self) -> list[str]:
        """Return the addresses that it asked for so far."""
        self.call("Browser.getVersion")  # what was told before the answer to this is noted
        return self.asked

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is there."""
        self.call("Page.navigate", url=address)
        while self._told().get("method") != "Page.loadEventFired":
            pass

    def opens(self, address: str) -> str | None:
        """Go to a page; return why it cannot be had, or None."""
        error: str | None = self.call("Page.navigate", url=address).get("errorText")
        return error

    def value(self, script: str) -> Any:
        """Return what an expression is in the page, once it is known."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        eventually(lambda: self.value(script), what=lambda: script)

    def look(self, *, width: int = 1280, height: int = 900, theme: str = "light", scale: int = 1) -> None:
        """See pages from now on in this theme, and in a window of this size."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        size: dict[str, object] = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def picture(self, *, whole: bool = False) -> bytes:
        """Return what is seen as a PNG."""
        shown = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shown["data"])

    def _address(self) -> str:
        eventually(self._pages, what=lambda: "the browser does not start")
        return self._pages()[0]

    def _pages(self) -> list[str]:
        """Return where its pages are driven; while it starts, none."""
        try:
            port = (self._profile / "DevToolsActivePort").read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=SECONDS) as answer:
                return [one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page"]
        except (OSError, IndexError):
            return []

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._page.recv(timeout=SECONDS))
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(told["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(told["params"]["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(told["params"]))
            case _:
                pass
        return told

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
