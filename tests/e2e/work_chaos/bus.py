"""A connection to the local socket with JSON lines, and a journal."""

import json
import os
import socket
import time


class Closed(Exception):
    """The daemon has closed the connection, or was killed."""


class Connection:
    def __init__(self, path):
        """Connects, and tries again while there is no daemon."""
        deadline = time.monotonic() + 30
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.pending = b""

    def send(self, requests):
        try:
            self.socket.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        except OSError as error:
            raise Closed from error

    def receive(self):
        """The next lines; a part of a line at the end of a connection is dropped."""
        while b"\n" not in self.pending:
            try:
                more = self.socket.recv(1 << 16)
            except OSError as error:
                raise Closed from error
            if not more:
                raise Closed
            self.pending += more
        whole, _, self.pending = self.pending.rpartition(b"\n")
        return [json.loads(line) for line in whole.split(b"\n")]


class Journal:
    """Lines that are written at once, so that a killed process has written what it did before."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, *fields):
        os.write(self.file, (" ".join(map(str, fields)) + "\n").encode())
