"""A headless Chromium without a network, driven as a reader would drive it: keys are pressed, buttons clicked, and time passes."""

import base64
import json
import re
import shutil
import subprocess
import time
from contextlib import closing
from pathlib import Path

import websocket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
KEYS = {"ArrowRight": 39, "ArrowDown": 40, "ArrowLeft": 37, "Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36}
INFORMATION = re.compile(r"\[(PST|togglebutton)\]: ")  # what the theme tells every console
PATIENCE = 60  # seconds for a page to become what it is waited for


class Page:
    """A page of a browser of its own; `errors` is what its console has complained of, `requests` what it asked for elsewhere."""

    def __init__(self, folder: Path):
        self.errors, self.requests, self._number = [], [], 0
        self._browser = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = self.wait(lambda: (folder / "DevToolsActivePort").read_text().split()[0] or None, OSError, IndexError)
            target = self.wait(lambda: self._target(port), OSError)
            self._socket = websocket.create_connection(target, timeout=PATIENCE)
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._browser.kill()
            raise

    @staticmethod
    def _target(port: str) -> str | None:
        import urllib.request

        with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list")) as answer:
            listed = json.load(answer)
        return next((target["webSocketDebuggerUrl"] for target in listed if target["type"] == "page"), None)

    @staticmethod
    def wait(ask, *errors: type[Exception]):
        """What `ask` gives as soon as that is true; until then these errors are none. A `TimeoutError` after some seconds."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if found := ask():
                    return found
            except errors:
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"nothing after {PATIENCE} s")
            time.sleep(0.05)

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self._socket.close()
        self._browser.terminate()
        self._browser.wait(PATIENCE)

    def call(self, method: str, **given) -> dict:
        """A command of the browser's protocol, and its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": given}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._hear(message)

    def _hear(self, message: dict) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.errors.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning"):
                text = " ".join(str(argument.get("value")) for argument in told["args"])
                self.errors += [text] * (not INFORMATION.search(text))
            case "Network.requestWillBeSent" if not told["request"]["url"].startswith(("file:", "data:", "about:", "blob:")):
                self.requests.append(told["request"]["url"])

    def open(self, address: str, *, width: int = 1400, height: int = 900, dark: bool = False, still: bool = False) -> None:
        """Show a page in a window of this size, in this theme, to a reader who wants no motion (`still`) or does not mind."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Page.navigate", url=address)
        self.until(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")

    def run(self, script: str):
        """What an expression of JavaScript gives, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression holds; a `TimeoutError` after some seconds."""
        self.wait(lambda: self.run(condition))

    def press(self, key: str) -> None:
        """Press a key where the focus is, and release it."""
        text = {"Enter": "\r", " ": " "}.get(key)
        whole = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **whole, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **whole)

    def point(self, path: str, number: int = 0) -> dict:
        """Move the mouse to the middle of the element of that number of a selector's, scrolled into view; its place."""
        script = f"""(() => {{ const element = document.querySelectorAll({json.dumps(path)})[{number}];
          element.scrollIntoView({{ block: "center", behavior: "instant" }});
          const box = element.getBoundingClientRect(); return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }}; }})()"""
        place = self.run(script)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        return place

    def click(self, path: str, number: int = 0) -> None:
        """Click there."""
        place = self.point(path, number)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **place, button="left", clickCount=1)

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])
