"""Drives headless Chromium; nothing but the standard library."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Browser:
    """One page in headless Chromium, over the DevTools protocol on a pipe."""

    def __init__(self, binary: str, profile: Path) -> None:
        commands, replies = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4, whatever these pipes are called here.
        inner = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (commands[0], replies[1])]
        code = (
            f"import os, sys; os.dup2({inner[0]}, 3); os.dup2({inner[1]}, 4);"
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        flags = "headless no-sandbox disable-gpu remote-debugging-pipe no-first-run"
        flags += " disable-background-networking disable-component-update disable-sync"
        options = [f"--{flag}" for flag in flags.split()] + [f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, binary, *options, "about:blank"],
            pass_fds=inner,
            stderr=subprocess.DEVNULL,
        )
        for fd in (commands[0], replies[1], *inner):
            os.close(fd)
        self.commands, self.replies = commands[1], replies[0]
        self.events: list[dict[str, Any]] = []
        self.session, self.number, self.rest = "", 0, b""
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = [target for target in targets if target["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                chunk = os.read(self.replies, 2**20)
                assert chunk, "the browser has gone"
                self.rest += chunk
            text, self.rest = self.rest.split(b"\0", 1)
            reply = json.loads(text)
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]
            self.events.append(reply)

    def do(self, script: str) -> Any:
        """Evaluate after the page has drawn what it had to."""
        wait = "await new Promise(done => setTimeout(done, 60));"
        code = f"(async () => {{ {wait} {script} }})()"
        found = self.call(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, path: Path, view: str = "runs") -> None:
        self.events.clear()
        self.call("Page.navigate", url=f"about:blank?{self.number}")
        self.call("Page.navigate", url=f"file://{path}#{view}")
        while self.do("return document.readyState + document.URL.slice(0, 4)") != "completefile":
            pass

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
