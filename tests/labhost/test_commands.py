"""``./lab exec`` and its siblings: what a command in the lab host sees and gives back."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from people import Person, myself


def test_virsh_prints_its_table(person: Person) -> None:
    done = person.run("exec", "--", "virsh", "list", "--all")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Id", "Name", "State", "-" * 20]


def test_exec_passes_input_output_and_errors(person: Person) -> None:
    done = person.run(
        "exec", "--", "sh", "-c", "tr a-z A-Z; echo oops >&2", input="hello\n", stdin=None
    )
    assert done.stdout == "HELLO\n"
    assert "oops" in done.stderr


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15), ("no-such-program", 127)],
)
def test_exec_passes_the_exit_status(person: Person, script: str, status: int) -> None:
    assert person.run("exec", "--", "sh", "-c", script).returncode == status


def test_virt_install_runs_whichever_python_comes_first(person: Person) -> None:
    path = f"{person.checkout}/.venv/bin:/usr/bin:/bin"
    done = person.run("exec", "--", "env", f"PATH={path}", "virt-install", "--version")
    assert done.returncode == 0, done.stderr


def test_a_missing_program_is_127(person: Person) -> None:
    assert person.run("exec", "--", "no-such-program").returncode == 127


def test_exec_keeps_the_working_folder(person: Person) -> None:
    done = person.run("exec", "--", "pwd", cwd="/usr/share")
    assert done.stdout.strip() == "/usr/share"


def test_exec_passes_the_terminal(person: Person) -> None:
    ours, theirs = pty.openpty()
    script = "test -t 0 && tty && virsh uri"
    process = person.start("exec", "--", "sh", "-c", script, stdin=theirs, stdout=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 1024)
        except OSError:  # EIO: everybody on the other side has closed it
            break
        said += piece
    os.close(ours)
    assert process.wait(60) == 0
    assert re.fullmatch(rb"/dev/pts/\d+\s+qemu:///system\s+", said), said


def test_dashes_of_the_command_are_its_own(person: Person) -> None:
    done = person.run("exec", "virsh", "--version")
    assert done.returncode == 0
    assert done.stdout[0].isdigit()


def test_default_network_and_pool_are_active(person: Person) -> None:
    done = person.run(
        "exec", "--", "sh", "-c",
        "virsh net-list --name; virsh pool-list --name; ip -brief addr show virbr0; hostname",
    )  # fmt: skip
    words = done.stdout.split()
    assert words.count("default") == 2
    assert "192.168.122.1/24" in words
    assert words[-1] == "kvmlab"


def test_names_are_looked_up_with_libvirt(person: Person) -> None:
    done = person.run("exec", "--", "grep", "^hosts:", "/etc/nsswitch.conf")
    assert done.stdout.split() == ["hosts:", "files", "libvirt", "libvirt_guest", "dns"]


def test_outside_is_reached_where_the_machine_has_one(person: Person) -> None:
    """The lab host gets pasta's address and route exactly if the machine has a route."""
    machine = subprocess.run(
        ["ip", "route", "show", "default"], capture_output=True, text=True, check=True
    )
    script = "ip -brief addr show eth0; ip route show default"
    done = person.run("exec", "--", "sh", "-c", script)
    has_route = "default via 10.0.2.2" in done.stdout and "10.0.2.15/24" in done.stdout
    assert has_route == bool(machine.stdout.strip() or _on_link_route())


def _on_link_route() -> bool:
    """Tell whether pasta has an interface to copy although there is no default route."""
    links = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True)
    return bool(links.stdout.strip())


def test_loopback_of_the_machine_is_out_of_reach(person: Person) -> None:
    """Neither 127.0.0.1 nor the gateway leads to a service on the learner's loopback."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as service:
        port = service.getsockname()[1]
        probe = f"""
import socket
for host in "127.0.0.1", "10.0.2.2":
    try:
        socket.create_connection((host, {port}), 2)
        print("reached", host)
    except OSError:
        print("no", host)
"""
        done = person.run("exec", "--", "python3", "-c", probe)
        assert done.stdout.split("\n")[:2] == ["no 127.0.0.1", "no 10.0.2.2"], done


def test_status_and_down(person: Person) -> None:
    assert "does not run" in person.run("status").stdout
    assert "does not run" in person.run("down").stdout
    done = person.run("exec", "--", str(person.checkout / "lab"), "status")
    assert "for: exec" in done.stdout, done


def test_the_lab_host_within_the_lab_host_is_the_same(person: Person) -> None:
    lab = str(person.checkout / "lab")
    script = f"readlink /proc/self/ns/net; {lab} exec -- readlink /proc/self/ns/net"
    done = person.run("exec", "--", "sh", "-c", script)
    first, second = done.stdout.split()
    assert first == second


def test_doctor_tells_json(person: Person) -> None:
    import json

    done = person.run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert {each["name"] for each in report["requirements"]} >= {"memory", "disk", "namespaces"}
    assert not [each for each in report["requirements"] if each["problem"]]


COMMANDS = ("up", "test", "exec", "shell", "status", "down", "doctor", "image", "reset", "bench")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = myself().run(command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_reset_asks_and_removes(person: Person) -> None:
    person.run(
        "exec", "--", "sh", "-c", "virsh net-destroy default; touch /var/lib/libvirt/images/x"
    )
    refused = person.run("reset", input="n\n", stdin=None)
    assert refused.returncode != 0
    assert (person.lab_home / "host").is_dir()
    assert person.run("reset", "--yes").returncode == 0
    assert not (person.lab_home / "host").exists()


TRIAL = """
from kvmlab.home import home
from kvmlab.labhost import client
from kvmlab.labhost.scratch import scratch_lab
with scratch_lab("trial"), client.enter("trial") as seat:
    print(home().name, (home() / "images").is_dir(), flush=True)
    seat.run(["virsh", "pool-list", "--all", "--name"])
    seat.run(["virsh", "pool-destroy", "default"])
    seat.leave()
print(home().name)
"""


def test_a_lab_for_tests_leaves_the_learners_alone(furnished: Person) -> None:
    """Tests and benchmarks see nothing of the learner's own, and leave nothing behind."""
    furnished.run("exec", "--", "virsh", "pool-define-as", "mine", "dir", "--target", "/mine")
    before = sorted(each.name for each in furnished.lab_home.iterdir())
    python = furnished.checkout / ".venv/bin/python"
    done = subprocess.run(
        [*furnished.become, str(python), "-c", TRIAL],
        env=furnished.environment(),
        cwd=furnished.checkout,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split()[:3] == ["trial", "True", "default"], done
    assert done.stdout.split()[-1] == furnished.lab_home.name
    assert sorted({each.name for each in furnished.lab_home.iterdir()} - {"trial.lock"}) == before
    pools = furnished.run("exec", "--", "virsh", "pool-list", "--name", "--all").stdout.split()
    assert pools == ["default", "mine"]


def test_a_very_long_home_works(person: Person) -> None:
    """A Unix socket's address has room for 107 bytes; a home folder may be longer."""
    deep = person.lab_home / ("d" * 80) / ("e" * 80)
    done = person.run("exec", "--", "virsh", "uri", env={"KVMLAB_HOME": str(deep)})
    assert done.stdout.strip() == "qemu:///system", done.stderr


def test_another_libvirt_needs_no_lab_host(person: Person) -> None:
    """With KVMLAB_URI everything runs against that libvirt: here its test driver."""
    uri = {"KVMLAB_URI": "test:///default"}
    done = person.run("exec", "--", "virsh", "list", "--all", "--name", env=uri)
    assert done.stdout.split() == ["test"]
    namespaces = person.run("exec", "--", "readlink", "/proc/self/ns/net", env=uri)
    assert namespaces.stdout.strip() == os.readlink("/proc/self/ns/net")
    assert not Path(person.lab_home, "control.sock").exists()
