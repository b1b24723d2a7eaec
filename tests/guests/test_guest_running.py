"""What can be done with a guest that runs. All share one, and leave it running and ready."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from kvmlab import Guest, Lab, errors
from kvmlab.images import tree

PATIENCE_S = 120


class TestCommands:
    def test_tell_what_they_print_and_how_they_end(self, web: Guest) -> None:
        result = web.run("echo out; echo err >&2; exit 3")
        assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 3)
        assert result.command == "echo out; echo err >&2; exit 3"

    def test_run_in_a_guest_that_knows_its_name(self, web: Guest) -> None:
        assert web.run(["hostname"]).stdout == f"{web.name}\n"

    def test_read_what_they_are_given(self, web: Guest) -> None:
        assert web.run("cat", input="Grüße\n").stdout == "Grüße\n"

    def test_with_arguments_are_not_taken_apart(self, web: Guest) -> None:
        result = web.run(["echo", "two  words", "$HOME"])
        assert result.stdout == "two  words $HOME\n"
        assert result.command == "echo 'two  words' '$HOME'"

    def test_may_be_ended_by_a_signal(self, web: Guest) -> None:
        result = web.run("kill -9 $$")
        assert (result.exit_status, result.signal) == (137, 9)

    def test_that_fail_can_raise(self, web: Guest) -> None:
        with pytest.raises(
            errors.CommandFailed, match="'false' ended with exit status 1"
        ) as raised:
            web.run("false", check=True)
        assert raised.value.result.exit_status == 1

    def test_that_do_not_exist_end_as_in_a_shell(self, web: Guest) -> None:
        result = web.run(["no-such-program"])
        assert result.exit_status == 127
        assert "No such file or directory" in result.stderr

    def test_that_take_too_long_are_killed_with_their_children(self, web: Guest) -> None:
        with pytest.raises(errors.TimedOut, match=r"ran longer than 0\.5 s"):
            web.run("sleep 1234; true", timeout_s=0.5)
        assert web.run("pgrep -f 'sleep 123[4]'").stdout == ""

    @pytest.mark.parametrize("nothing", ["", []])
    def test_must_be_something(self, web: Guest, nothing: str | list[str]) -> None:
        with pytest.raises(errors.InvalidArgument, match="no command"):
            web.run(nothing)

    def test_from_several_threads(self, web: Guest) -> None:
        with ThreadPoolExecutor(4) as pool:
            printed = list(pool.map(lambda n: web.run(f"echo {n}").stdout, range(8)))
        assert printed == [f"{n}\n" for n in range(8)]


class TestAddresses:
    def test_are_the_same_from_inside_and_outside(self, web: Guest, lab: Lab) -> None:
        address = web.wait_address(timeout_s=PATIENCE_S)
        inside = {each.address: each for each in web.addresses("agent")}
        outside = {each.address: each for each in web.addresses("lease")}
        assert inside[address].mac == outside[address].mac
        assert inside[address].interface == "eth0"
        leases = {lease.address: lease for lease in lab.networks["default"].leases()}
        assert leases[address].hostname == web.name

    def test_from_nowhere(self, web: Guest) -> None:
        with pytest.raises(errors.InvalidArgument, match="agent, lease, arp"):
            web.addresses("telepathy")  # type: ignore[arg-type]


class TestScreen:
    def test_shows_the_login(self, web: Guest) -> None:
        shot = web.screenshot()
        with Image.open(io.BytesIO(shot.png)) as picture:
            assert picture.size == (shot.width, shot.height)
            assert len(set(picture.convert("L").tobytes())) > 1, "the screen is blank"


class TestConsole:
    def test_is_a_dialogue(self, web: Guest) -> None:
        with web.console() as console:
            console.send("\n")
            console.expect(f"root@{web.name}:~# ", timeout_s=PATIENCE_S)
            console.send("expr 6 '*' 7\n")
            assert "42" in console.expect("\n42", timeout_s=PATIENCE_S)

    def test_carries_more_than_fits_at_once(self, web: Guest) -> None:
        with web.console() as console:
            console.send("seq 20000 | tr '\\n' ' '; echo don''e\n")
            told = console.expect("done", timeout_s=PATIENCE_S)
        assert " 1234 1235 1236 " in told
        assert " 19999 20000 " in told

    def test_has_one_user_at_a_time_unless_forced(self, web: Guest) -> None:
        with web.console() as first:
            with pytest.raises(errors.ConsoleBusy, match="force=True"):
                web.console()
            with web.console(force=True) as second:
                with pytest.raises(errors.ConsoleClosed):
                    first.expect("never", timeout_s=PATIENCE_S)
                second.send("echo a''gain\n")
                second.expect("again", timeout_s=PATIENCE_S)


class TestPausing:
    def test_stops_the_cpus_and_keeps_the_memory(self, web: Guest) -> None:
        web.run("echo kept > /run/mark")
        web.suspend()
        assert web.state == "paused"
        before = web.stats().cpu_time_s
        with pytest.raises(errors.GuestAlreadyRunning):
            web.start()
        with pytest.raises(errors.WrongState, match="Resume it first"):
            web.shutdown()
        assert web.stats().cpu_time_s - before < 0.05
        web.resume()
        assert web.state == "running"
        assert web.run("cat /run/mark").stdout == "kept\n"
        with pytest.raises(errors.WrongState):
            web.resume()


class TestSize:
    def test_memory_comes_and_goes(self, web: Guest) -> None:
        def total_mib() -> int:
            return int(web.run("awk '/MemTotal/ { print $2 }' /proc/meminfo").stdout) // 1024

        before_mib, before = web.stats().memory_mib, total_mib()
        try:
            web.set_memory(before_mib + 64, config=False, timeout_s=PATIENCE_S)
            assert web.stats().memory_mib == before_mib + 64
            assert total_mib() - before == pytest.approx(64, abs=8)
            with pytest.raises(errors.NotEnoughMemory, match="256 MiB at most while it runs"):
                web.set_memory(257)
        finally:
            web.set_memory(before_mib, config=False, timeout_s=PATIENCE_S)
        assert total_mib() == pytest.approx(before, abs=8)

    def test_cpus_are_switched_on_and_off(self, web: Guest) -> None:
        def nproc() -> str:
            return web.run("nproc").stdout.strip()

        assert nproc() == "1"
        try:
            web.set_vcpus(2, config=False)
            assert nproc() == "2"
        finally:
            web.set_vcpus(1, config=False)
        assert nproc() == "1"
        with pytest.raises(errors.NotEnoughCpus):
            web.set_vcpus(1000)


class TestStats:
    def test_grow_with_what_the_guest_does(self, web: Guest, lab: Lab) -> None:
        before = lab.stats()[web.name]
        web.run("dd if=/dev/zero of=/root/zeros bs=1M count=8 conv=fsync; rm /root/zeros; sync")
        after = web.stats()
        assert after.state == "running"
        assert after.cpu_time_s > before.cpu_time_s
        assert after.cpu_percent_since(before) > 0
        assert after.disk_written_bytes - before.disk_written_bytes >= 8 * 2**20
        assert after.net_received_bytes > 0
        assert after.resident_memory_mib
        assert lab.guests.states()[web.name] == "running"


class TestSaving:
    def test_carries_on_where_it_was(self, web: Guest) -> None:
        web.run("echo kept > /run/mark")
        boot = web.run("cat /proc/sys/kernel/random/boot_id").stdout
        web.managed_save()
        assert (web.state, web.has_managed_save) == ("shut off", True)
        web.start()
        web.wait_ready(timeout_s=PATIENCE_S)
        assert not web.has_managed_save
        assert web.run("cat /run/mark").stdout == "kept\n"
        assert web.run("cat /proc/sys/kernel/random/boot_id").stdout == boot


class TestRestarting:
    @pytest.mark.parametrize("how", ["reboot", "reset"])
    def test_forgets_the_memory_and_keeps_the_disk(self, web: Guest, how: str) -> None:
        web.run("echo gone > /run/mark; echo kept > /root/mark; sync")
        boot = web.run("cat /proc/sys/kernel/random/boot_id").stdout
        getattr(web, how)()
        web.wait_ready(timeout_s=PATIENCE_S)
        assert web.run("cat /run/mark /root/mark").stdout == "kept\n"
        assert web.run("cat /proc/sys/kernel/random/boot_id").stdout != boot


class TestListening:
    def test_to_all_that_happens(self, web: Guest, lab: Lab) -> None:
        with lab.events.watch(guest=web.name) as watch:
            web.suspend()
            web.resume()
            start = time.monotonic()
            kinds = [watch.next(timeout_s=PATIENCE_S).kind for _ in range(2)]
        assert kinds == ["suspended", "resumed"]
        assert time.monotonic() - start < PATIENCE_S


def test_our_cpio_archives_are_read_by_a_real_cpio(web: Guest) -> None:
    files = {"bin/sh": tree.link("busybox"), "init": tree.Node(tree.PROGRAM, b"#!/bin/sh\n")}
    said = web.run("cpio -t", input=tree.cpio(files), check=True)
    assert said.stdout.split() == ["bin", "bin/sh", "init"]
