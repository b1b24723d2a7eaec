"""A guest's service in the browser of the machine outside, and no port open without need."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from urllib.parse import urlsplit

import pytest
from people import Person
from traces import traces

from kvmlab.labhost import client
from kvmlab.waiting import attempts

# What a learner's notebook does; then it is told what to do next, and says when it is done.
SCRIPT = """
import sys
import kvmlab
lab = kvmlab.connect()
guest = lab.guests["site"] if "site" in lab.guests else lab.guests.create("site", image="tiny")
if guest.state != "running":
    guest.start()
guest.wait_ready()
guest.wait_address()
guest.run("httpd")
site = guest.forward(80, local_port=int(sys.argv[1]) if sys.argv[1:] else None)
print(site, flush=True)
for order in sys.stdin:
    if order.strip() == "child":  # that would inherit what is not closed for it
        import subprocess
        subprocess.Popen(["sleep", "300"], close_fds=False)
    else:
        getattr(guest if order.strip() == "delete" else site, order.strip())()
    print("done", flush=True)
"""
PATIENCE_S = 30


class Notebook:
    """Somebody's Python in the lab host."""

    def __init__(self, person: Person, *arguments: str) -> None:
        script = person.lab_home / "forward.py"
        script.write_text(SCRIPT)
        script.chmod(0o644)
        python = str(person.checkout / ".venv/bin/python")
        self.process = person.start(
            "exec", "--", python, str(script), *arguments,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said = self.read()

    def read(self) -> str:
        assert self.process.stdout is not None
        return str(self.process.stdout.readline()).strip()

    def order(self, what: str) -> None:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        assert self.read() == "done"

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        assert self.process.wait(60) == 0


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def listening(port: int | None) -> list[str]:
    """Return the addresses of this machine at which somebody listens on a port."""
    told = subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True).stdout
    found = (line.split()[3] for line in told.splitlines())
    return [each for each in found if each.endswith(f":{port}")]


def is_closed(port: int | None) -> bool:
    return any(not listening(port) for _ in attempts(PATIENCE_S))


def test_a_guests_page_is_seen_from_outside_for_as_long_as_it_is_wanted(
    furnished: Person,
) -> None:
    first = Notebook(furnished)
    port = urlsplit(first.said).port
    assert first.said == f"http://127.0.0.1:{port}/"
    assert "Hello from site" in page(first.said)
    assert listening(port) == [f"127.0.0.1:{port}"]
    # Closed by its owner, and then by the end of its owner, whatever it has started.
    first.order("child")
    first.order("close")
    assert is_closed(port)
    second = Notebook(furnished, str(port))
    assert page(second.said) == page(second.said)
    second.order("child")
    second.end()
    assert is_closed(port)
    # A port that is taken outside is one clear error inside.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        python = str(furnished.checkout / ".venv/bin/python")
        script = str(furnished.lab_home / "forward.py")
        done = furnished.run("exec", "--", python, script, number)
    assert "InUse" in done.stderr
    assert number in done.stderr
    # With the guest it goes as well.
    third = Notebook(furnished)
    gone = urlsplit(third.said).port
    assert "Hello" in page(third.said)
    third.order("delete")
    assert is_closed(gone)
    third.end()
    first.end()


def test_the_end_of_the_lab_host_closes_it(furnished: Person) -> None:
    notebook = Notebook(furnished)
    port = urlsplit(notebook.said).port
    assert "Hello" in page(notebook.said)
    seat = client.find()
    assert seat is not None
    with seat:
        os.kill(seat.pid, signal.SIGKILL)
        seat.wait_until_over()
    assert is_closed(port)
    with pytest.raises(OSError, match="refused"):
        page(notebook.said)
    notebook.process.wait(60)
    for stream in (notebook.process.stdin, notebook.process.stdout):
        assert stream is not None
        stream.close()
    assert not traces(furnished.lab_home)
