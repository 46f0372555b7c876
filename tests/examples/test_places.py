"""Network namespaces of the example: hospitals reach the exchange's one port, and nothing else of anybody."""

import importlib.util
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[2] / "examples" / "four_hospitals" / "places.py"
_SPEC = importlib.util.spec_from_file_location("places", _FILE)
places = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(places)

#: Listens on a port of every address, says so, and stays until its input ends.
LISTEN = """
import socket, sys
with socket.create_server(("", int(sys.argv[1]))):
    print("listening", flush=True)
    sys.stdin.read()
"""
#: Which of some ports at some addresses take a connection.
PROBE = """
import json, socket, sys
found = []
for target in sys.argv[1:]:
    host, port = target.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=0.5).close()
        found.append(target)
    except OSError:
        pass
print(json.dumps(found))
"""


def python(place, party, code, *arguments):
    return [*place.prefix(party), sys.executable, "-c", code, *map(str, arguments)]


@pytest.mark.skipif(not places.namespaces_are_possible(), reason="network namespaces need root and iproute2")
def test_only_the_exchanges_port_can_be_reached_from_a_hospitals_network():
    place = places.Namespaces("exchange", ["ahus", "bern"])
    addresses = {party: f"{place.exchange_host.rpartition('.')[0]}.{at}" for at, party in enumerate(place.parties, 2)}
    port = place.exchange_port()
    with ExitStack() as stack:
        stack.callback(place.close)
        for party in place.parties:  # a hospital's machine may serve what it likes in its own house
            listening = subprocess.Popen(
                python(place, party, LISTEN, port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(listening.communicate)
            assert listening.stdout.readline() == "listening\n"
        targets = [f"{address}:{at}" for address in addresses.values() for at in (22, port, port + 1, 5432)]
        done = subprocess.run(
            python(place, "ahus", PROBE, *targets, "127.0.0.1:22"), capture_output=True, text=True, check=True
        )
    assert json.loads(done.stdout) == [f"{addresses['exchange']}:{port}", f"{addresses['ahus']}:{port}"]
