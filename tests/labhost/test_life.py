"""From the first user to the last: joining, leaving, dying, coming back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from people import Person
from traces import network_state, traces

from kvmlab.labhost import client

# SeaBIOS with nothing to boot: a guest that runs and needs no image.
GUEST = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices><interface type='network'><source network='default'/></interface></devices>
</domain>
"""


def start_guest(person: Person, name: str) -> list[str]:
    """Return the words of a script that defines and starts a guest."""
    description = person.lab_home / f"{name}.xml"
    description.write_text(GUEST.format(name=name))
    description.chmod(0o644)
    return ["sh", "-c", f"virsh -q define {description} && virsh -q start {name}"]


class Stay:
    """Somebody who is in the lab host until told to leave: ``./lab exec -- sh``."""

    def __init__(self, person: Person, **settings: object) -> None:
        self.launcher = person.start(
            "exec", "--", "sh", "-c", "echo in; cat; echo out",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, **settings,
        )  # fmt: skip
        assert self.launcher.stdout is not None
        assert self.launcher.stdout.readline() == b"in\n"
        self.watch = client.find()
        assert self.watch is not None
        # That there is something to see now makes seeing nothing later worth it.
        assert len(traces(person.lab_home)) > 3

    def await_end(self) -> None:
        """Wait until the lab host, with every process in it, has ended."""
        assert self.watch is not None
        self.watch.wait_until_over()
        self.watch.close()

    def leave(self) -> bytes:
        """End the stay in peace and return what was said."""
        said, _ = self.launcher.communicate(timeout=60)
        return said


def test_a_second_command_joins_the_first(person: Person) -> None:
    stay = Stay(person)
    first = person.run("exec", "--", "readlink", "/proc/self/ns/net").stdout
    second = person.run("exec", "--", "readlink", "/proc/self/ns/net").stdout
    assert first == second != os.readlink("/proc/self/ns/net") + "\n"
    assert stay.leave() == b"out\n"
    stay.await_end()
    assert client.find() is None


def test_many_start_at_once_and_share_one(person: Person) -> None:
    crowd = [
        person.start(
            "exec", "--", "sh", "-c", "readlink /proc/self/ns/net; cat",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    namespaces = {each.stdout.readline() for each in crowd if each.stdout}
    assert len(namespaces) == 1
    for each in crowd:
        each.communicate(timeout=60)
    assert [each.returncode for each in crowd] == [0] * 4


def test_down_ends_it_for_everybody(person: Person) -> None:
    stay = Stay(person)
    assert "has ended" in person.run("down").stdout
    stay.await_end()
    assert stay.launcher.wait(60) == 128 + signal.SIGKILL
    stay.leave()


def test_running_guests_are_saved_and_resumed(person: Person) -> None:
    assert person.run("exec", "--", *start_guest(person, "sleeper")).returncode == 0
    done = person.run(
        "exec", "--", "sh", "-c",
        "virsh domstate sleeper --reason; virsh -q suspend sleeper",
    )  # fmt: skip
    assert done.stdout.split("\n")[0] == "running (restored)"
    # A paused guest comes back paused, a guest that is off stays off.
    done = person.run("exec", "--", "sh", "-c", "virsh domstate sleeper; virsh -q destroy sleeper")
    assert done.stdout.split()[0] == "paused"
    done = person.run("exec", "--", "virsh", "domstate", "sleeper")
    assert done.stdout.strip() == "shut off"


def _hear_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_launcher_that_dies_leaves_nothing(person: Person, how: signal.Signals) -> None:
    before = traces(person.lab_home)
    # Where the suite itself runs under nohup, what it starts would be deaf to SIGHUP.
    stay = Stay(person, preexec_fn=_hear_hangups)
    assert person.run("exec", "--", *start_guest(person, "orphan")).returncode == 0
    stay.launcher.send_signal(how)
    stay.await_end()
    assert traces(person.lab_home) <= before
    stay.leave()
    done = person.run("exec", "--", "virsh", "domstate", "orphan")
    assert done.stdout.strip() == "running"


def test_a_launcher_that_dies_takes_its_commands_along(person: Person) -> None:
    """Somebody else keeps the lab host; a killed user's processes end all the same."""
    other = Stay(person)
    stay = Stay(person)
    stay.launcher.kill()
    stay.launcher.wait(60)
    done = person.run("exec", "--", "pgrep", "-c", "-x", "cat")
    assert done.stdout.strip() == "1"
    stay.leave()
    other.leave()
    other.await_end()


def on_a_terminal(person: Person, script: str) -> tuple[subprocess.Popen[bytes], int]:
    """Run a script in the lab host on a terminal of its own; return our side of it too.

    Returns once the script has said "ready".
    """
    ours, theirs = pty.openpty()
    process = person.start(
        "exec", "--", "sh", "-c", script, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=_own_terminal,
    )  # fmt: skip
    os.close(theirs)
    _read_until(ours, b"ready")
    return process, ours


def test_ctrl_c_reaches_the_command(person: Person) -> None:
    script = "trap 'echo caught; exit 5' INT; echo ready; sleep 600 & wait"
    process, terminal = on_a_terminal(person, script)
    os.write(terminal, b"\x03")
    _read_until(terminal, b"caught")
    assert process.wait(60) == 5
    os.close(terminal)


def test_a_closed_terminal_leaves_nothing(person: Person) -> None:
    before = traces(person.lab_home)
    process, terminal = on_a_terminal(person, "echo ready; sleep 600")
    watch = client.find()
    assert watch is not None
    os.close(terminal)
    with watch:
        watch.wait_until_over()
    process.wait(60)
    assert traces(person.lab_home) <= before


def _own_terminal() -> None:
    """Make standard input the controlling terminal of the new session."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(terminal: int, word: bytes) -> None:
    said = b""
    while word not in said:
        said += os.read(terminal, 1024)


def test_a_killed_supervisor_takes_everything_along(person: Person) -> None:
    before = traces(person.lab_home)
    stay = Stay(person)
    assert person.run("exec", "--", *start_guest(person, "unlucky")).returncode == 0
    assert stay.watch is not None
    os.kill(stay.watch.pid, signal.SIGKILL)
    stay.await_end()
    stay.leave()
    assert traces(person.lab_home) <= before
    # As after a power cut: the guest is off, and all there.
    script = "virsh domstate unlucky; virsh -q start unlucky; virsh domstate unlucky"
    done = person.run("exec", "--", "sh", "-c", script)
    assert done.stdout.split("\n")[:3] == ["shut off", "", "running"], done


def test_the_machines_network_stays_as_it_is(person: Person) -> None:
    before = network_state()
    stay = Stay(person)
    assert person.run("exec", "--", *start_guest(person, "busy")).returncode == 0
    during = network_state()
    stay.leave()
    stay.await_end()
    after = network_state()
    for what, seen in before.items():
        assert during[what] == seen, what
        assert after[what] == seen, what


def test_a_broken_libvirtd_is_one_clear_error(person: Person) -> None:
    person.run("exec", "--", "true")
    # Its settings are written anew at each start; what it cannot mend is a folder in the way.
    settings = Path(person.lab_home, "host", "lib", "qemu")
    subprocess.run(["rm", "-rf", str(settings)], check=True)
    settings.write_text("in the way")
    done = person.run("exec", "--", "virsh", "list")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr
