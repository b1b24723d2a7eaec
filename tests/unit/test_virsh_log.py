"""The log of what was done, in virsh's words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from kvmlab import Commands, Lab, VirshLog, errors
from kvmlab.virsh import shell


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> VirshLog:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu:///system")
    return VirshLog("qemu:///system", length=3)


def do(log: VirshLog, command: str, *, question: bool = False) -> None:
    with log.action(question=question) as action:
        action.note(command)


class TestWords:
    def test_are_quoted_where_a_shell_would_take_them_apart(self) -> None:
        assert shell("virsh", "desc", "web", "it's a test", None) == (
            """virsh desc web 'it'"'"'s a test'"""
        )

    def test_name_the_libvirt_where_it_is_not_virshs_own(
        self, log: VirshLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert log.virsh("list") == "virsh list"
        elsewhere = VirshLog("qemu+ssh://server/system")
        assert elsewhere.virsh("list") == "virsh --connect qemu+ssh://server/system list"
        monkeypatch.delenv("LIBVIRT_DEFAULT_URI")
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert "--connect" in VirshLog("qemu:///system").virsh("list")

    def test_show_as_they_are_typed(self) -> None:
        assert repr(Commands("virsh start web")) == "virsh start web"


class TestLog:
    def test_keeps_what_was_done_last(self, log: VirshLog) -> None:
        for number in range(5):
            do(log, f"virsh start web{number}")
        assert list(log) == ["virsh start web2", "virsh start web3", "virsh start web4"]
        assert repr(log).splitlines() == list(log)
        log.clear()
        assert len(log) == 0

    def test_an_action_within_another_is_part_of_it(self, log: VirshLog) -> None:
        with log.action() as outer:
            do(log, "virsh vol-create-as default web.qcow2 1G")
            do(log, "virsh vol-list default", question=True)
            outer.note("virsh define web.xml")
        assert list(log) == ["virsh vol-create-as default web.qcow2 1G\nvirsh define web.xml"]

    def test_what_failed_was_not_done(self, log: VirshLog) -> None:
        with suppress(ZeroDivisionError), log.action() as action:
            action.note("virsh vol-create-as default web.qcow2 1G")
            1 / 0  # noqa: B018
        assert len(log) == 0
        do(log, "virsh list")
        assert list(log) == ["virsh list"]

    def test_the_same_question_is_noted_once_until_something_changes(self, log: VirshLog) -> None:
        for _ in range(2):
            do(log, "virsh domstats", question=True)
        do(log, "virsh start web")
        do(log, "virsh domstats", question=True)
        assert list(log) == ["virsh domstats", "virsh start web", "virsh domstats"]

    def test_threads_do_not_get_into_each_others_actions(self, log: VirshLog) -> None:
        def act(number: int) -> str:
            with log.action() as action:
                do(log, f"virsh inner {number}")
                action.note(f"virsh outer {number}")
            return action.commands

        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(act, range(200)))
        assert done == [f"virsh inner {n}\nvirsh outer {n}" for n in range(200)]


class TestGuests:
    def test_know_their_own_last_commands(self, test_lab: Lab) -> None:
        old, again = test_lab.guests["old"], test_lab.guests["old"]
        virsh = test_lab.virsh_log.virsh
        assert old.virsh == ""
        old.suspend()
        assert old.virsh == virsh("suspend", "old")
        assert again.state == "paused"
        assert (old.virsh, again.virsh) == (virsh("suspend", "old"), virsh("domstate", "old"))
        with pytest.raises(errors.GuestAlreadyRunning):
            old.start()
        assert list(test_lab.virsh_log) == [virsh("suspend", "old"), virsh("domstate", "old")]

    @pytest.mark.parametrize(
        ("deed", "words"),
        [
            (lambda g: g.start(), "start g"),
            (lambda g: setattr(g, "autostart", False), "autostart g --disable"),
            (lambda g: g.has_managed_save, "dominfo g"),
            (lambda g: g.xml, "dumpxml g"),
            (lambda g: g.uuid, "domuuid g"),
            (lambda g: g.stats(), "domstats g"),
            (lambda g: g.remove_managed_save(), "managedsave-remove g"),
            (lambda g: g.set_memory(64), "setmem g 64MiB --config"),
            (lambda g: g.set_memory(128), "setmaxmem g 128MiB --config|setmem g 128MiB --config"),
            (lambda g: g.set_vcpus(2), "setvcpus g 2 --config"),
            (lambda g: g.set_vcpus(9), "setvcpus g 9 --maximum --config|setvcpus g 9 --config"),
            (lambda g: g.delete(), "undefine g"),
        ],
    )
    def test_speak_virsh(self, deed: object, words: str, test_lab: Lab) -> None:
        guest = test_lab.guests.create("g", memory_mib=100)
        assert callable(deed)
        deed(guest)
        virsh = test_lab.virsh_log.virsh
        assert guest.virsh.splitlines() == [virsh(*line.split()) for line in words.split("|")]
