"""From a guest to the world outside the lab host, and from the lab host to a guest by name."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator

import pytest
from people import Person

SCRIPT = """
import sys
import kvmlab
guest = kvmlab.connect().guests.create("reach", image="tiny", networks=["default"])
guest.start()
guest.wait_ready()
guest.wait_address()
print(guest.run(f"wget -qO- {sys.argv[1]}").stdout)
"""


class Greeting(http.server.BaseHTTPRequestHandler):
    """A service on the machine outside."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"greetings from outside")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def outside() -> Iterator[str]:
    """Yield the address of a service on this machine's own, not loopback, address."""
    listed = subprocess.run(["ip", "-json", "-4", "addr"], capture_output=True, check=True)
    addresses = [
        address["local"]
        for interface in json.loads(listed.stdout)
        for address in interface["addr_info"]
        if address["scope"] == "global"
    ]
    assert addresses, "this machine has no address of its own for guests to reach"
    with http.server.ThreadingHTTPServer((addresses[0], 0), Greeting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{addresses[0]}:{server.server_port}/"
        server.shutdown()


def test_a_guest_reaches_outside_and_is_reached_by_name(furnished: Person, outside: str) -> None:
    """The packets take the whole way: guest, virbr0, libvirt's NAT, pasta, the machine."""
    python = str(furnished.checkout / ".venv/bin/python")
    script = furnished.lab_home / "reach.py"
    script.write_text(SCRIPT)
    script.chmod(0o644)
    done = furnished.run("exec", "--", python, str(script), outside)
    assert done.stdout.strip() == "greetings from outside", done.stderr
    # The guest was saved when that command was over; now it resumes.
    named = furnished.run("exec", "--", "ping", "-c", "1", "-W", "10", "reach")
    assert "1 received" in named.stdout, named
    logged_in = furnished.run("exec", "--", "ssh", "reach", "hostname")
    assert logged_in.stdout.strip() == "reach", logged_in
