"""Forwarding without a guest: relaying to a server of our own, and ports handed from process to
process."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kvmlab import Lab, errors
from kvmlab.labhost import ports, wire
from kvmlab.networks.forwarding import Forward, check_ports, open_forward
from kvmlab.waiting import attempts

SOON_S = 10.0


def all_of(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says back whatever it is told, once it has heard all of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(ConnectionError):  # who asked may break off
                    connection.sendall(all_of(connection))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def open_to(test_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Open forwards to an address, as if to a guest's."""
    monkeypatch.delenv("KVMLAB_LABHOST", raising=False)
    made: list[Forward] = []

    def open_to(address: tuple[str, int], local_port: int | None = None) -> Forward:
        made.append(open_forward(test_lab.guests["old"], *address, local_port))
        return made[-1]

    yield open_to
    for each in made:
        each.close()


def say(forward: Forward, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", forward.local_port), timeout=SOON_S) as sock:
        sock.sendall(words)
        sock.shutdown(socket.SHUT_WR)
        return all_of(sock)


def is_refused(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == errno.ECONNREFUSED


def closes_soon(forward: Forward) -> bool:
    deadline = time.monotonic() + SOON_S
    while forward.is_open and time.monotonic() < deadline:
        time.sleep(0.01)
    return not forward.is_open


class TestAForward:
    def test_passes_everything_on_and_back(self, open_to: Any, echo: tuple[str, int]) -> None:
        forward = open_to(echo)
        words = os.urandom(3_000_000)
        assert say(forward, words) == words
        assert say(forward, b"again") == b"again"

    def test_reads_as_an_address_for_a_browser(self, open_to: Any, echo: tuple[str, int]) -> None:
        forward = open_to(echo)
        assert str(forward) == repr(forward) == f"http://127.0.0.1:{forward.local_port}/"
        assert f'href="{forward}"' in forward._repr_html_()
        assert (forward.guest, forward.port) == ("old", echo[1])

    def test_is_over_at_the_end_of_a_with(self, open_to: Any, echo: tuple[str, int]) -> None:
        with open_to(echo) as forward:
            assert forward.is_open
        assert not forward.is_open
        forward.close()  # again does nothing
        with pytest.raises(OSError, match="refused"):
            say(forward, b"anybody?")
        with open_to(echo, forward.local_port) as second:
            assert second.local_port == forward.local_port

    def test_breaks_connections_off_when_it_is_closed(
        self, open_to: Any, echo: tuple[str, int]
    ) -> None:
        forward = open_to(echo)
        with socket.create_connection(("127.0.0.1", forward.local_port), timeout=SOON_S) as sock:
            sock.sendall(b"not all of it")
            forward.close()
            with suppress(OSError):  # as good as the end of what there is
                assert all_of(sock) == b""

    def test_closes_when_the_guest_stops(
        self, open_to: Any, echo: tuple[str, int], test_lab: Lab
    ) -> None:
        forward = open_to(echo)
        test_lab.guests["old"].suspend()
        assert forward.is_open
        test_lab.guests["old"].destroy()
        assert closes_soon(forward)

    def test_closes_with_the_lab(self, open_to: Any, echo: tuple[str, int], test_lab: Lab) -> None:
        forward = open_to(echo)
        test_lab.close()
        assert closes_soon(forward)

    def test_says_nothing_where_nobody_listens(self, open_to: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        forward = open_to(address)
        with suppress(OSError):  # as good an answer
            assert say(forward, b"anybody?") == b""
        assert forward.is_open

    def test_takes_no_port_that_is_taken(self, open_to: Any, echo: tuple[str, int]) -> None:
        threads = threading.active_count()
        with pytest.raises(errors.InUse, match=f"taken.*{echo[1]}.*local_port"):
            open_to(echo, echo[1])
        assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("port", "local_port"),
    [(0, None), (-1, None), (65536, None), ("80", None), (True, None), (80, 80), (80, 70000)],
)
def test_what_is_no_port_is_refused(port: Any, local_port: Any) -> None:
    with pytest.raises(errors.InvalidArgument):
        check_ports(port, local_port)


class TestHandingOver:
    @pytest.fixture
    def supervisor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """The part of a supervisor that opens ports, on a control socket of its own."""
        monkeypatch.setenv("KVMLAB_LABHOST", str(tmp_path))
        listening, over, loops = wire.listen(tmp_path / "control.sock"), asyncio.Event(), []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                # As the supervisor, which tells everybody what it is doing.
                writer.write(wire.encode({"step": "saving guest web"}))
                await ports.hand_over(writer, wire.decode(line).get("port"))
                await writer.drain()
            writer.close()

        async def run() -> None:
            loops.append(asyncio.get_running_loop())
            async with await asyncio.start_server(serve, sock=listening):
                await over.wait()

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        yield tmp_path
        loops[0].call_soon_threadsafe(over.set)
        thread.join()

    def test_gives_a_socket_that_takes_connections(self, supervisor: Path) -> None:
        with ports.listen_outside(0) as sock:
            host, port = sock.getsockname()
            assert host == "127.0.0.1"
            assert not os.get_inheritable(sock.fileno())
            with socket.create_connection((host, port), timeout=SOON_S) as there:
                here, _ = sock.accept()
                with here:
                    here.sendall(b"hello")
                assert there.recv(5) == b"hello"
        # Nobody else has kept it: the one who handed it over lets go of it at once.
        assert any(is_refused((host, port)) for _ in attempts(SOON_S))

    def test_tells_that_a_port_is_taken(self, supervisor: Path) -> None:
        with ports.listen_outside(0) as sock, pytest.raises(OSError, match="in use") as raised:
            ports.listen_outside(sock.getsockname()[1])
        assert raised.value.errno == errno.EADDRINUSE

    @pytest.mark.parametrize("port", [80, -1, 65536, "8080", None])
    def test_opens_no_port_of_roots(self, supervisor: Path, port: Any) -> None:
        with pytest.raises(PermissionError):
            ports.listen_outside(port)

    def test_is_clear_where_no_lab_host_answers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KVMLAB_LABHOST", str(tmp_path))
        with pytest.raises(errors.LabHostError, match=r"\./lab"):
            ports.listen_outside(0)

    def test_a_forward_is_open_on_both_sides(
        self, supervisor: Path, test_lab: Lab, echo: tuple[str, int]
    ) -> None:
        # Here both sides are the same, so that no port is free on both.
        with pytest.raises(errors.LabHostError, match="free within the lab host and outside"):
            open_forward(test_lab.guests["old"], *echo)
