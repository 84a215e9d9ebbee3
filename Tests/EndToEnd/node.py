"""Starts, stops, kills and restarts a node under test, on free ports and in a temporary directory."""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "Tests" / "Samples"
# Optional tables of real flights. Tests that need them are skipped when the directory is missing.
FLIGHTS = ROOT.parent / "shared" / "data"
BINARY = None


class Node:
    def __init__(self, *arguments, data=None):
        self.arguments = list(arguments)
        self.work = Path(tempfile.mkdtemp(prefix="auspex-"))
        self.data = data or self.work / "data"
        self.process = None
        self.ready = {}

    def start(self, timeout=60):
        self.errors = open(self.work / "errors", "ab")
        self.process = subprocess.Popen(
            [str(BINARY), "server", "--data-dir", str(self.data), "--native-port", "0", "--line-port", "0",
             "--internode-port", "0", "--http-port", "0", *self.arguments],
            stdout=subprocess.PIPE, stderr=self.errors, cwd=self.work)
        deadline = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.kill()
                raise AssertionError(f"the node did not start serving within {timeout} s\n{self.log()}")
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise AssertionError(f"the node ended with {self.process.wait()} instead of serving\n{self.log()}")
            line += byte
        self.ready = json.loads(line)
        assert self.ready["ready"] is True, line
        return self

    @property
    def native(self):
        return self.ready["native"]

    @property
    def line(self):
        return self.ready["line"]

    @property
    def http(self):
        return self.ready["http"]

    def log(self):
        return (self.work / "errors").read_text(errors="replace")[-4000:]

    def kill(self):
        """Sends SIGKILL and waits for the process to end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process.stdout.close()
            self.errors.close()
            self.process = None

    def stop(self, timeout=60):
        """Sends SIGTERM and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        finally:
            self.kill()

    def close(self):
        self.kill()
        shutil.rmtree(self.work, ignore_errors=True)


class Line:
    """A client of the line protocol."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, *requests):
        self.socket.sendall("".join(request + "\n" for request in requests).encode())

    def answer(self):
        """Returns the lines of the next answer, without line ends."""
        lines = []
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            lines.append(line.decode().rstrip("\n"))
            if lines[-1][:1] in (".", "!"):
                return lines

    def ask(self, request):
        self.send(request)
        return self.answer()

    def do(self, request):
        """Sends a request and asserts that it succeeds."""
        lines = self.ask(request)
        assert lines[-1].startswith("."), f"{request}: {lines}"
        return lines

    @staticmethod
    def rows_of(lines):
        return [json.loads(line[2:]) for line in lines if line.startswith("R ")]

    def rows(self, request):
        """Returns the rows of one answer, which may be only the first page."""
        return self.rows_of(self.do(request))

    def all_rows(self, request):
        """Returns the rows of all pages. The server may end a page early when it grows too large."""
        lines = self.do(request)
        rows = self.rows_of(lines)
        while any(line.startswith(">") for line in lines):
            lines = self.do("\\next")
            rows += self.rows_of(lines)
        return rows

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def tool(*arguments, input=None, timeout=300):
    """Runs a command of the binary and returns the completed process."""
    return subprocess.run([str(BINARY), *map(str, arguments)], input=input, capture_output=True, text=True, timeout=timeout)
