"""Events, the console's bytes and asking again: waiting without a guest."""

from __future__ import annotations

import itertools
import re
import threading
import time
from typing import Any

import libvirt
import pytest

from kvmlab import Console, Event, Lab, errors
from kvmlab.waiting import attempts


class TestEvents:
    def test_come_one_after_the_other(self, test_lab: Lab) -> None:
        old = test_lab.guests["old"]
        with test_lab.events.watch(guest="old") as watch:
            old.suspend()
            old.resume()
            old.destroy()
            assert watch.next(timeout_s=10) == Event("old", "suspended", "paused")
            assert watch.wait_for("stopped", timeout_s=10) == Event("old", "stopped", "destroyed")

    def test_of_other_guests_stay_away(self, test_lab: Lab) -> None:
        with test_lab.events.watch(guest="web") as ours, test_lab.events.watch() as all_of_them:
            test_lab.guests["old"].suspend()
            assert all_of_them.next(timeout_s=10).guest == "old"
            with pytest.raises(errors.TimedOut, match="no event 'started' or 'resumed' came"):
                ours.wait_for("started", "resumed", timeout_s=0)

    def test_are_told_until_told_to_stop(self, test_lab: Lab) -> None:
        seen: list[Event] = []
        stop = test_lab.events.subscribe(seen.append)
        old = test_lab.guests["old"]
        with test_lab.events.watch() as watch:
            old.suspend()
            watch.next(timeout_s=10)
            stop()
            stop()
            old.resume()
            watch.next(timeout_s=10)
        assert seen == [Event("old", "suspended", "paused")]

    def test_reach_others_where_one_subscriber_fails(
        self, test_lab: Lab, capfd: pytest.CaptureFixture[str]
    ) -> None:
        test_lab.events.subscribe(lambda event: 1 / 0)
        with test_lab.events.watch() as watch:
            test_lab.guests["old"].suspend()
            assert watch.next(timeout_s=10).kind == "suspended"
        assert capfd.readouterr() == ("", "")

    def test_end_an_iteration_when_closed(self, test_lab: Lab) -> None:
        watch = test_lab.events.watch()
        seen: list[Event] = []
        reader = threading.Thread(target=lambda: seen.extend(watch))
        reader.start()
        test_lab.guests["old"].suspend()
        test_lab.guests["old"].resume()
        while len(seen) < 2 and reader.is_alive():
            reader.join(0.01)
        watch.close()
        reader.join(10)
        assert [event.kind for event in seen] == ["suspended", "resumed"]

    def test_will_not_come_once_the_lab_is_closed(self, test_lab: Lab) -> None:
        watch = test_lab.events.watch()
        test_lab.close()
        for _ in range(2):
            with pytest.raises(errors.ConnectionLost):
                watch.next(timeout_s=10)

    def test_are_waited_for_by_a_shutdown(self, test_lab: Lab) -> None:
        old = test_lab.guests["old"]
        old.shutdown(timeout_s=10)
        assert old.state == "shut off"
        with pytest.raises(errors.GuestNotRunning):
            old.shutdown()

    def test_a_paused_guest_hears_nothing(self, test_lab: Lab) -> None:
        old = test_lab.guests["old"]
        old.suspend()
        with pytest.raises(errors.WrongState, match="Resume it first"):
            old.shutdown()

    def test_no_such_mode(self, test_lab: Lab) -> None:
        with pytest.raises(errors.InvalidArgument, match="There is: 'agent', 'acpi'"):
            test_lab.guests["old"].reboot(mode="button")  # type: ignore[arg-type]


class Stream:
    """A stream as libvirt's: what is to be received is given, and its end is told."""

    def __init__(self) -> None:
        self.incoming: list[bytes | int] = []
        self.sent = bytearray()
        self.most = 3  # as much as it takes at once
        self.done: list[str] = []
        self.callback: Any = None
        self.events = 0

    def eventAddCallback(self, events: int, callback: Any, _: Any) -> None:  # noqa: N802
        self.events, self.callback = events, callback

    def eventUpdateCallback(self, events: int) -> None:  # noqa: N802
        self.events = events

    def eventRemoveCallback(self) -> None:  # noqa: N802
        self.done.append("callback removed")

    def abort(self) -> None:
        self.done.append("aborted")

    def recv(self, _: int) -> bytes | int:
        return self.incoming.pop(0) if self.incoming else -2

    def send(self, data: bytes) -> int:
        self.sent += data[: self.most]
        return min(len(data), self.most)

    def bring(self, *data: bytes | int) -> None:
        self.incoming += data
        self.callback(self, libvirt.VIR_STREAM_EVENT_READABLE, None)

    def take(self) -> None:
        self.callback(self, libvirt.VIR_STREAM_EVENT_WRITABLE, None)


class Domain:
    """A guest with nothing but a console."""

    def name(self) -> str:
        return "web"

    def openConsole(self, device: None, stream: Stream, flags: int) -> None:  # noqa: N802
        self.flags = flags


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def console(stream: Stream, test_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(test_lab.connection, "newStream", lambda flags: stream)
    return Console(test_lab, Domain())


class TestConsole:
    def test_gives_what_has_come(self, console: Console, stream: Stream) -> None:
        stream.bring(b"Linux ", b"version")
        assert console.read() == b"Linux version"

    def test_reads_up_to_what_is_expected(self, console: Console, stream: Stream) -> None:
        stream.bring("Grüße\r\nweb login: root\r\n".encode())
        assert console.expect("login: ") == "Grüße\r\nweb login: "
        assert console.expect(re.compile(r"R..T", re.IGNORECASE)) == "root"
        assert console.read() == b"\r\n"

    def test_waits_for_what_is_expected(self, console: Console, stream: Stream) -> None:
        threading.Timer(0.01, stream.bring, (b"log",)).start()
        threading.Timer(0.02, stream.bring, (b"in: ",)).start()
        assert console.expect("login: ", timeout_s=10) == "login: "

    def test_tells_what_came_instead(self, console: Console, stream: Stream) -> None:
        stream.bring(b"Kernel panic")
        with pytest.raises(errors.TimedOut, match=r"'login: ' did not appear.*saw 'Kernel panic'"):
            console.expect("login: ", timeout_s=0)
        assert console.read() == b"Kernel panic"

    def test_a_silent_one_is_left_after_a_while(self, console: Console) -> None:
        with pytest.raises(errors.TimedOut, match="stays silent"):
            console.read(timeout_s=0)

    def test_sends_as_much_as_the_guest_takes(self, console: Console, stream: Stream) -> None:
        console.send("uname\n")
        assert stream.events & libvirt.VIR_STREAM_EVENT_WRITABLE
        stream.take()
        assert stream.sent == b"uname\n"
        assert not stream.events & libvirt.VIR_STREAM_EVENT_WRITABLE

    def test_ends_with_the_guest(self, console: Console, stream: Stream) -> None:
        stream.bring(b"bye", b"")
        assert not console.is_open
        assert console.expect("bye") == "bye"
        assert console.read() == b""
        for deed in (lambda: console.expect("more"), lambda: console.send("more")):
            with pytest.raises(errors.ConsoleClosed):
                deed()

    def test_ends_where_the_stream_breaks(
        self,
        console: Console,
        stream: Stream,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def fail(*_: object) -> None:
            raise libvirt.libvirtError("stream had I/O failure")

        for name in ("recv", "abort", "eventRemoveCallback"):
            monkeypatch.setattr(stream, name, fail)
        stream.bring()
        with pytest.raises(errors.ConsoleClosed):
            console.expect("more", timeout_s=0)
        assert capfd.readouterr() == ("", "")

    def test_lets_go_of_its_callback_first_and_once(self, console: Console, stream: Stream) -> None:
        with console:
            pass
        console.close()
        assert stream.done == ["callback removed", "aborted"]


class TestAttempts:
    def test_there_is_always_one(self) -> None:
        assert len(list(attempts(timeout_s=0))) == 1

    def test_pauses_grow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        clock = [0.0]

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            clock[0] += seconds

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        for _ in attempts(timeout_s=10):
            pass
        assert pauses[:3] == [0.005, 0.005, 0.005]
        assert max(pauses) == 0.25
        # What is there at any moment is seen before a tenth more of the time is over.
        waited = itertools.accumulate(pauses, initial=0.0)
        assert all(
            pause <= max(0.005, 0.1 * so_far) for so_far, pause in zip(waited, pauses, strict=False)
        )
        assert len(pauses) < 100
        assert sum(pauses) == pytest.approx(10)
