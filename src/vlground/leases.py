"""Who makes which evidence, so that no two processes make the same (ours).

    runs/evidence/<stage>/<hash of the key>.<turn>.lease      the host and the process that make it

A lease saves work and guards nothing: evidence that is made twice is the same, and the store keeps
the first. So it may be wrong now and then, but nobody may wait for it in vain. It is abandoned if
its process is dead (seen on the same host at once), or if nobody has touched its file for `STALE`
seconds (seen on any host). Then the next turn is taken: a new file, which exactly one of all who
try creates, also on NFS. There is no lock of the operating system, no clock is compared with
another host's, and no file is taken away from anybody.
"""

import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path

BEAT = 15.0  # seconds between two touches of what is held
STALE = 120.0  # four of them, and the minute for which NFS may show an old time
_HOST = platform.node()


class Leases:
    """What this process makes at present, of one stage.

    Args:
        folder: Of the stage; there, because whoever creates a file in it reads it anew on NFS.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, str] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self._ended: threading.Event | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def take(self, key: str) -> bool:
        """Take the lease of a key; False: somebody else has it.

        Raises:
            OSError: If the folder cannot be written.
        """
        if key in self._held:
            return True
        if self._ended is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._ended = threading.Event()
            threading.Thread(target=self._touch, args=(self._ended,), daemon=True).start()
        for path in self._turns(key):
            try:
                file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                if not self._abandoned(path):
                    return False
            else:
                self._held[key] = path
                try:
                    os.write(file, f"{_HOST} {os.getpid()}".encode())
                finally:
                    os.close(file)
                break
        return True

    def taken(self, key: str) -> bool:
        """Whether somebody makes the evidence of a key at present."""
        for path in self._turns(key):
            if not os.path.exists(path):
                return False
            if not self._abandoned(path):
                break
        return True

    def release(self, keys: Iterable[str]) -> None:
        """Give back leases, and remove those that were abandoned before them; others stay."""
        for key in keys:
            held = self._held.pop(key, None)
            if held is not None:
                for path in self._turns(key):
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                    if path == held:
                        break

    def end(self) -> None:
        """Give back all, and clear away what dead processes left; then hold none until `take`."""
        self.release(list(self._held))
        if self._ended is None:
            return
        self._ended.set()
        self._ended = None
        with suppress(OSError):
            for name in os.listdir(self.folder):
                path = f"{self.folder}/{name}"
                if name.endswith(".lease") and self._abandoned(path):
                    os.unlink(path)

    def _turns(self, key: str) -> Iterator[str]:
        # Strings, because this is done for every sample.
        name = f"{self.folder}/{sha256(key.encode()).hexdigest()[:24]}"
        return (f"{name}.{turn}.lease" for turn in count())

    def _abandoned(self, path: str) -> bool:
        try:
            host, _, process = Path(path).read_text().rpartition(" ")
            touched = os.stat(path).st_mtime_ns
        except OSError:
            return False  # given back just now
        if host == _HOST and process.isdigit() and not _lives(int(process)):
            return True
        before, since = self._seen.get(path, (None, 0.0))
        if touched != before:
            self._seen[path] = (touched, time.monotonic())
            return False
        return time.monotonic() - since > STALE

    def _touch(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            for path in list(self._held.values()):
                with suppress(OSError):
                    os.utime(path)


def _lives(process: int) -> bool:
    """Whether a process that holds what this one does not is there."""
    if process == os.getpid():  # its number was another one's, before the host was started again
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
