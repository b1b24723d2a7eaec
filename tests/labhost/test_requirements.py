"""What a machine may lack, said in one sentence by doctor and by the failing command alike."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from people import TUN, Person

from kvmlab.errors import HostRequirementError
from kvmlab.labhost import requirements


def problem_of(person: Person, name: str) -> dict[str, str]:
    """Return what doctor says of one requirement, and check that exec says the same."""
    told = person.run("doctor", "--json")
    assert told.returncode == 1, told.stderr
    report = json.loads(told.stdout)
    found: dict[str, str] = {each["name"]: each for each in report["requirements"]}[name]  # type: ignore[assignment]
    done = person.run("exec", "--", "true")
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert found["problem"] in said
    assert found["remedy"] in said
    assert "Traceback" not in done.stderr
    return found


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode & 0o777
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


if os.geteuid() == 0:

    @pytest.mark.parametrize("person", ["ordinary"], indirect=True)
    def test_a_closed_network_device(person: Person) -> None:
        with mode(TUN, 0o600):
            found = problem_of(person, "network device")
        assert found["remedy"] == "sudo chmod 0666 /dev/net/tun"

    @pytest.mark.parametrize("person", ["ordinary"], indirect=True)
    def test_no_subordinate_ids_and_the_remedy_works(person: Person) -> None:
        def ranges() -> str:
            return Path("/etc/subuid").read_text() + Path("/etc/subgid").read_text()

        whole = {place: Path(place).read_text() for place in ("/etc/subuid", "/etc/subgid")}
        try:
            for place, text in whole.items():
                kept = [line for line in text.splitlines() if not line.startswith(person.name)]
                Path(place).write_text("".join(f"{line}\n" for line in kept))
            found = problem_of(person, "subordinate ids")
            remedy = found["remedy"].removeprefix("sudo ").split()
            assert remedy[0] == "usermod"
            subprocess.run(remedy, check=True)
            assert person.name in ranges()
            assert person.run("exec", "--", "true").returncode == 0
        finally:
            for place, text in whole.items():
                Path(place).write_text(text)

    @pytest.mark.parametrize("person", ["ordinary"], indirect=True)
    def test_forbidden_user_namespaces(person: Person, tmp_path: Path) -> None:
        """In a chroot the kernel allows nobody a user namespace (user_namespaces(7))."""
        script = 'mount --rbind / "$0" && exec /usr/sbin/chroot "$0" "$@"'
        cage = ["unshare", "--mount", "sh", "-c", script, str(tmp_path)]
        caged = replace(person, become=[*cage, *person.become])
        found = problem_of(caged, "namespaces")
        assert "chroot" in found["remedy"]

    @pytest.mark.parametrize("person", ["ordinary"], indirect=True)
    def test_somebody_elses_state_folder(person: Person) -> None:
        with mode(person.lab_home, 0o700):
            os.chown(person.lab_home, 0, 0)
            found = problem_of(person, "state folder")
        assert "KVMLAB_HOME" in found["remedy"]


def test_too_little_disk_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are compared with what the machine has; here the needs grow instead."""
    monkeypatch.setattr(requirements, "DISK_MIB", 10**9)
    with pytest.raises(HostRequirementError, match=r"less than 10+ MiB of disk .* KVMLAB_HOME"):
        requirements.demand()
    monkeypatch.undo()
    monkeypatch.setattr(requirements, "MEMORY_MIB", 10**9)
    with pytest.raises(HostRequirementError, match=r"less than 10+ MiB of memory"):
        requirements.demand()


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(requirements.PROGRAMS, "no-such-qemu", "qemu-of-some-kind")
    with pytest.raises(HostRequirementError, match=r"no-such-qemu.*apt-get install qemu-of-some"):
        requirements.demand()


@pytest.mark.parametrize(
    ("switch", "value", "remedy"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", 1, "=0"),
        ("kernel/unprivileged_userns_clone", 0, "=1"),
        ("user/max_user_namespaces", 0, "=10000"),
    ],
)
def test_the_switch_that_forbids_is_named(
    switch: str, value: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "kernel").mkdir()
    (tmp_path / "user/max_user_namespaces").write_text("95000\n")
    (tmp_path / switch).write_text(f"{value}\n")
    monkeypatch.setattr(requirements, "SYSCTLS", tmp_path)
    assert requirements._namespaces_remedy() == f"sudo sysctl -w {switch.replace('/', '.')}{remedy}"


def test_every_problem_comes_with_a_remedy() -> None:
    for each in requirements.check():
        assert bool(each.problem) == bool(each.remedy) or each.name == "subordinate ids"
