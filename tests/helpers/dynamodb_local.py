"""DynamoDB Local, Amazon's own engine: fetched once with Maven, run in memory on a free port, killed with its parent.

Run as a program, this file is the parent of Java: it ends it when its own standard input closes, which is also when the
tests are killed.
"""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from hourbank.local.patience import Patience

PROJECT = Path(__file__).parents[2]
POM = Path(__file__).with_name("pom.xml")
CACHE = PROJECT / ".dynamodb-local"
JAVA = 17
FETCH_SECONDS = 1800


class MissingEngineError(Exception):
    """DynamoDB Local cannot run here; the message is one line that says why."""


class DynamoDBLocal:
    """A running engine; a context manager that leaves no process behind, however it is left.

    Each AWS access key has tables of its own. It listens on every interface (it has no option for that), so nothing but
    what tests make up may be in it.
    """

    def __enter__(self) -> "DynamoDBLocal":
        require_java()
        libraries = fetch()
        self._log = tempfile.TemporaryFile()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            for _ in range(3):  # another process may take the port between the choice and the bind
                port = _free_port()
                self.endpoint = f"http://127.0.0.1:{port}"
                self._process = subprocess.Popen(
                    [sys.executable, __file__, libraries, str(port)],
                    stdin=subprocess.PIPE,
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,
                )
                if self._answers(port):
                    return self
                self._kill()
            raise MissingEngineError(f"DynamoDB Local did not start: {self._last_words()}")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._log.close()

    def _answers(self, port: int) -> bool:
        patience = Patience()
        while self._process and self._process.poll() is None and not patience.is_over():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("GET", "/")
                # without a signature it refuses, which is an answer
                if connection.getresponse().status == 400:
                    return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
            finally:
                connection.close()
        return False

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM where only zombies are left
            os.killpg(process.pid, signal.SIGKILL)  # start_new_session made it the leader of its group
        process.wait()
        if process.stdin:
            process.stdin.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        return last_line(self._log.read().decode(errors="replace"))


def require_java() -> None:
    """Raises MissingEngineError unless a new enough Java is on the PATH."""
    try:
        # macOS has a java that only says that there is none
        answer = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        raise MissingEngineError(f"DynamoDB Local needs Java {JAVA} or newer: no java on the PATH") from None
    version = re.search(r'version "(\d+)', answer)
    if version is None or int(version[1]) < JAVA:
        raise MissingEngineError(f"DynamoDB Local needs Java {JAVA} or newer, but java is {answer.splitlines()[0]}")


def fetch() -> Path:
    """The folder with the engine's libraries, fetched with Maven the first time."""
    version = re.search(r"DynamoDBLocal</artifactId>\s*<version>(.+)</version>", POM.read_text())
    assert version, "the pom names no version"
    libraries = CACHE / version[1]
    if libraries.is_dir():
        return libraries
    if not shutil.which("mvn"):
        raise MissingEngineError("DynamoDB Local is fetched with Maven: no mvn on the PATH")
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={directory}/lib"]
        command = ["mvn", "--batch-mode", "--quiet", "--color=never", "--file", POM, *goal]
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=FETCH_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise MissingEngineError(f"Maven did not fetch DynamoDB Local within {FETCH_SECONDS} s") from None
        except subprocess.CalledProcessError as error:
            raise MissingEngineError(f"Maven cannot fetch DynamoDB Local: {first_error(error.stdout)}") from None
        try:
            Path(directory, "lib").rename(libraries)  # at the end: a half-fetched folder is never taken for a whole one
        except OSError:
            if not libraries.is_dir():  # unless another process was quicker
                raise
    return libraries


def first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.startswith("[ERROR]")]
    return (lines or [last_line(output)])[0].removeprefix("[ERROR] ")[:300]


def last_line(output: str) -> str:
    return ([line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"])[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_engine(libraries: str, port: str) -> None:
    """Runs Java until it ends, or until standard input closes: then the whole process group is killed."""

    def follow_parent() -> None:
        while os.read(0, 1):
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=follow_parent, daemon=True).start()
    options = [f"-Djava.library.path={libraries}", "-Xmx512m", "-cp", f"{libraries}/*"]
    server = ["software.amazon.dynamodb.services.local.main.ServerRunner", "-inMemory", "-disableTelemetry"]
    sys.exit(subprocess.call(["java", *options, *server, "-port", port], stdin=subprocess.DEVNULL))


if __name__ == "__main__":
    run_engine(*sys.argv[1:])
