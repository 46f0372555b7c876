"""A TCP relay between nodes and an exchange, which can cut what goes through it."""

import socket
import threading
from contextlib import contextmanager, suppress


class Gate:
    """A TCP relay between nodes and server that can cut every connection, or let nothing through."""

    def __init__(self, port):
        self._target, self._pairs, self.open = port, [], True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.limit = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            if not self.open:
                inside.close()
                continue
            outside = self._dial(inside)
            self._pairs.append((inside, outside))
            for source, sink in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _dial(self, inside):
        return socket.create_connection(("127.0.0.1", self._target))

    def _carry(self, source, sink):
        carried = 0
        while True:
            try:
                data = source.recv(65536)
                if not data or (self.limit is not None and carried + len(data) > self.limit):
                    break
                sink.sendall(data)
                carried += len(data)
            except OSError:
                break
        for end in (source, sink):
            end.close()

    def cut(self):
        for pair in self._pairs:
            for end in pair:
                with_shutdown(end)
        self._pairs.clear()

    def close(self):
        self._listener.close()
        self.cut()


def with_shutdown(end):
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class ConnectProxy(Gate):
    """The least of an HTTP proxy: CONNECT, and bytes both ways."""

    def __init__(self, port):
        self.asked = []
        super().__init__(port)

    def _dial(self, inside):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += inside.recv(1)
        self.asked.append(request.decode().splitlines()[0])
        host, port = self.asked[-1].split()[1].split(":")
        outside = socket.create_connection((host, int(port)))
        inside.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return outside


@contextmanager
def gate(port, *, kind=Gate):
    made = kind(port)
    try:
        yield made
    finally:
        made.close()
