"""Download many files over HTTP: few connections, a limited rate, patience, nothing half-written.

A file appears under its name only when it is whole and has passed a check, and a file that is
there already isn't asked for again. So an interrupted download goes on where it stopped.
"""

import datetime
import email.utils
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

import hpa_lib
from hpa_lib import files
from hpa_lib.errors import HpaError

USER_AGENT = f"hpa-notebooks/{hpa_lib.__version__} (research; images by id)"

LARGEST_FILE = 2**28
"""Answers of more bytes are refused."""

_BUSY = (429, 503)
_FIRST_SERVER_ERROR = 500


@dataclass(frozen=True)
class Politeness:
    """How a server is treated.

    Attributes:
        connections: Downloads at the same time.
        per_second: Requests a second, over all connections.
        attempts: Times that a file is asked for before it is given up.
        back_off: Seconds before the second attempt; each further pause is twice as long. Where
            the server names a time (``Retry-After``), all connections wait so long instead.
        patience: Seconds; a server that asks for a longer wait has its way, and the file is
            given up.
        timeout: Seconds without an answer after which an attempt has failed.
    """

    connections: int = 4
    per_second: float = 8.0
    attempts: int = 5
    back_off: float = 2.0
    patience: float = 300.0
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("connections", "attempts"):
            if getattr(self, name) < 1:
                raise HpaError(f"{name} is {getattr(self, name)}.", "Choose 1 or more.")
        if not self.per_second > 0:
            raise HpaError(f"per_second is {self.per_second}.", "Choose a number above 0.")


@dataclass
class Report:
    """What a download did.

    Attributes:
        written: Files written.
        present: Files that were there already.
        failed: Reason for each file that could not be had.
    """

    written: int = 0
    present: int = 0
    failed: dict[Path, str] = field(default_factory=dict)


class _GiveUpError(Exception):
    """A file can't be had; the message says why."""


class _TryAgainError(Exception):
    """An attempt failed; the message says why.

    Args:
        reason: What happened.
        wait: Seconds that the server asks for; None where it doesn't say.
        connected: Whether the server was reached.
    """

    def __init__(self, reason: str, wait: float | None = None, connected: bool = True) -> None:
        super().__init__(reason)
        self.wait = wait
        self.connected = connected


class _Gate:
    """Lets requests pass one by one at a limited rate; can be shut for a while, or for good."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = time.monotonic()
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def wait(self) -> None:
        """Wait for the next free turn."""
        with self._lock:
            turn = self._next = max(self._next, time.monotonic())
            self._next += self._interval
        self.stopped.wait(turn - time.monotonic())

    def shut(self, seconds: float) -> None:
        """Let nobody pass for some seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def download(
    wanted: Iterable[tuple[str, Path]],
    check: Callable[[Path], None],
    *,
    total: int | None = None,
    politeness: Politeness | None = None,
    progress: bool = True,
) -> Report:
    """Download files.

    Args:
        wanted: Address and path of each file.
        check: Called with a temporary file of the same ending before it gets its name; an
            `HpaError` refuses it.
        total: Number of files, for the progress bar.
        politeness: How the server is treated.
        progress: Show a progress bar where standard error is a terminal.

    Returns:
        What was written, and for what reason files are missing. A file that the server doesn't
        have (404), or that fails in all attempts, doesn't stop the others.

    Raises:
        HpaError: If the server can't be reached, in all attempts for one file.
    """
    politeness = politeness or Politeness()
    gate, report, lock = _Gate(politeness.per_second), Report(), threading.Lock()
    remaining = iter(wanted)
    with (
        tqdm(total=total, desc="Downloading", disable=None if progress else True) as bar,
        ThreadPoolExecutor(politeness.connections) as pool,
    ):

        def work() -> None:
            for address, path in _taken(remaining, lock, gate.stopped):
                try:
                    written = not path.exists()
                    if written:
                        _fetch(address, path, check, politeness, gate)
                except _GiveUpError as error:
                    with lock:
                        report.failed[path] = str(error)
                except BaseException:
                    gate.stopped.set()
                    raise
                else:
                    with lock:
                        report.written += written
                        report.present += not written
                bar.update()

        workers = [pool.submit(work) for _ in range(politeness.connections)]
        try:
            for worker in workers:
                worker.result()
        finally:
            gate.stopped.set()
    return report


def _taken(
    remaining: Iterator[tuple[str, Path]], lock: threading.Lock, stopped: threading.Event
) -> Iterator[tuple[str, Path]]:
    """Take one entry after the other from an iterator that several threads share."""
    while not stopped.is_set():
        with lock:
            entry = next(remaining, None)
        if entry is None:
            return
        yield entry


def _fetch(
    address: str, path: Path, check: Callable[[Path], None], politeness: Politeness, gate: _Gate
) -> None:
    for attempt in range(politeness.attempts):
        gate.wait()
        if gate.stopped.is_set():
            raise _GiveUpError("the download was stopped")
        try:
            content, kind = _answer(address, politeness.timeout)
            break
        except _TryAgainError as error:
            wait = politeness.back_off * 2**attempt if error.wait is None else error.wait
            if wait > politeness.patience:
                raise _GiveUpError(f"{error}, to be asked again in {wait:.0f} s") from error
            if attempt + 1 < politeness.attempts:
                if error.wait is None:
                    gate.stopped.wait(wait)
                else:
                    gate.shut(wait)
            elif error.connected:
                raise _GiveUpError(f"{error}, in {politeness.attempts} attempts") from error
            else:
                raise HpaError(
                    f"{address} can't be reached ({error}).",
                    "Check the network and the address; the same command goes on later.",
                ) from error
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
        try:
            check(temporary)
        except HpaError as error:
            raise _GiveUpError(
                f"the answer ({kind}, {len(content):,} bytes) isn't the file wanted"
            ) from error


def _answer(address: str, timeout: float) -> tuple[bytes, str]:
    """Content and type of one answer."""
    request = urllib.request.Request(address, headers={"User-Agent": USER_AGENT})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            declared = response.headers.get("Content-Length")
            content = response.read(LARGEST_FILE + 1)
            kind = response.headers.get_content_type()
    except urllib.error.HTTPError as error:
        with error:
            reason = f"HTTP {error.code} {error.reason}".rstrip()
            if error.code in _BUSY:
                raise _TryAgainError(reason, _seconds(error.headers.get("Retry-After"))) from error
            if error.code >= _FIRST_SERVER_ERROR:
                raise _TryAgainError(reason) from error
            raise _GiveUpError(reason) from error
    except urllib.error.URLError as error:
        raise _TryAgainError(str(error.reason), connected=False) from error
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgainError(f"the connection broke ({type(error).__name__})") from error
    if len(content) > LARGEST_FILE:
        raise _GiveUpError(f"the answer has more than {LARGEST_FILE:,} bytes")
    if declared and declared.isdigit() and int(declared) != len(content):
        raise _TryAgainError(f"the connection broke after {len(content):,} of {declared} bytes")
    return content, kind


def _seconds(retry_after: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header, which holds seconds or a date (RFC 9110)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
