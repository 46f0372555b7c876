"""A plain TLS socket for the transport benchmark: sends so many bytes at each byte it receives.

python tls_sender.py AUTHORITY_PEM PORT BYTES
"""

import random
import socket
import ssl
import sys

authority, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = memoryview(random.Random(0).randbytes(size))
context = ssl.create_default_context(cafile=authority)
with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as connection:
    while connection.recv(1):
        for start in range(0, size, 1 << 20):
            connection.sendall(data[start : start + (1 << 20)])
