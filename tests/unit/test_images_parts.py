"""What images are made with: file trees, packages, machine code, kernel modules."""

from __future__ import annotations

import io
import os
import select
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import pytest

from kvmlab.errors import ImageError
from kvmlab.images import hello, hosttools, mbr, packages, picking, tiny, tree
from kvmlab.images.machinecode import Program, assembled, listing
from kvmlab.images.tree import FILE, PROGRAM, Node, link

# What mmdebstrap would do, as far as our side of it can see.
FAKE_MMDEBSTRAP = """\
#!/bin/sh
echo 'I: running apt-get update...' >&2
echo 'Need to get 2,000 kB of archives.' >&2
echo 'Get:1 somewhere/main amd64 one amd64 1.0 [500 kB]' >&2
echo 'Get:2 somewhere/main amd64 two amd64 1.0 [1500 kB]' >&2
echo 'I: creating tarball...' >&2
"""


def packed(*members: tuple[str, str]) -> bytes:
    """Return a tar of files, and of links where the content begins with ->."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.mode = 0o755 if "bin/" in name else 0o644
            if content.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:]
            elif content.startswith("=="):
                member.type, member.linkname = tarfile.LNKTYPE, content[2:]
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


class TestTree:
    def test_from_tar_merges_usr(self) -> None:
        archive = packed(
            ("./bin/ip", "program"),
            ("./sbin/ip", "->/bin/ip"),
            ("./usr/sbin/two", "==./bin/ip"),
            ("./lib/x/libc.so", "->libc.so.6"),
            ("./usr/share/doc/big", "text"),
        )
        found = tree.from_tar(io.BytesIO(archive), lambda path: "doc" not in path)
        assert found == {
            "usr/bin/ip": Node(PROGRAM, b"program"),
            "usr/bin/two": Node(PROGRAM, b"program"),
            "usr/lib/x/libc.so": link("libc.so.6"),
        }

    def test_from_package_takes_modes_from_content(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "run").write_text("#!/bin/sh\n")
        (tmp_path / "text").write_text("text")
        assert tree.from_package(tmp_path) == {
            "etc/run": Node(PROGRAM, b"#!/bin/sh\n"),
            "text": Node(FILE, b"text"),
        }

    def test_write_gives_modes_times_and_links(self, tmp_path: Path) -> None:
        content = {"a/b": Node(PROGRAM, b"x"), "l": link("a/b"), "s": Node(stat.S_IFDIR | 0o700)}
        tree.write(content, tmp_path, 1000)
        assert (tmp_path / "l").read_text() == "x"
        for path, mode in (("a", 0o755), ("a/b", 0o755), ("s", 0o700)):
            state = (tmp_path / path).stat()
            assert (stat.S_IMODE(state.st_mode), state.st_mtime) == (mode, 1000)


class TestFetch:
    def fake(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        program = folder / "mmdebstrap"
        program.write_text(script)
        program.chmod(0o755)
        monkeypatch.setattr(hosttools, "_PATH", f"{folder}:/usr/bin:/bin")

    def test_tells_progress_and_returns_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tar").write_bytes(packed(("./bin/ip", "program"), ("./other", "file")))
        self.fake(tmp_path, monkeypatch, f"{FAKE_MMDEBSTRAP}cat '{tmp_path}/tar'\n")
        said: list[tuple[str, float]] = []
        found = packages.fetch(
            "stable", ["one"], lambda path: "bin" in path, lambda *each: said.append(each)
        )
        assert list(found) == ["usr/bin/ip"]
        assert ("downloading Debian packages, 2 of 2 MB", 0.7) in said
        assert [done for _, done in said] == sorted(done for _, done in said)

    def test_failure_shows_the_last_words(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.fake(tmp_path, monkeypatch, "#!/bin/sh\necho 'E: no route to host' >&2\nexit 100\n")
        with pytest.raises(ImageError, match=r"(?s)status 100.*no route to host.*Debian mirror"):
            packages.fetch("stable", ["one"], lambda path: True, lambda text, done: None)

    def test_missing_keys_are_told_apart(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.fake(tmp_path, monkeypatch, "#!/bin/sh\necho 'E: NO_PUBKEY 1' >&2\nexit 100\n")
        with pytest.raises(ImageError, match="apt-get install debian-archive-keyring"):
            packages.fetch("stable", ["one"], lambda path: True, lambda text, done: None)

    def test_failure_halfway_through_the_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = f"{FAKE_MMDEBSTRAP}head -c 700 '{tmp_path}/tar'\n"
        script += "echo 'tar: No space left on device' >&2\nexit 1\n"
        (tmp_path / "tar").write_bytes(packed(("./bin/ip", "program" * 100)))
        self.fake(tmp_path, monkeypatch, script)
        with pytest.raises(ImageError, match=r"(?s)No space left.*Free some disk space"):
            packages.fetch("stable", ["one"], lambda path: True, lambda text, done: None)

    def test_kill_ends_mmdebstrap_too(self, tmp_path: Path) -> None:
        script = f"#!/bin/sh\necho 'I: I am' $$ >&2\nexec sleep 1000 > '{tmp_path}/sleeps'\n"
        (tmp_path / "mmdebstrap").write_text(script)
        (tmp_path / "mmdebstrap").chmod(0o755)
        program = (
            "from kvmlab.images import packages; packages._STAGES['I: I am'] = ('', 0.5);"
            "packages.fetch('stable', ['one'], bool, lambda *said: print(said, flush=True))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        process.stdout.readline()
        (shell,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ended = os.pidfd_open(int(shell))
        process.kill()
        process.wait()
        assert select.select([ended], [], [], 60)[0]

    def test_missing_tools_are_named_with_their_packages(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hosttools, "_PATH", "/nowhere")
        with pytest.raises(ImageError, match="apt-get install e2fsprogs mtools") as caught:
            hosttools.require("mke2fs", "debugfs", "mcopy")
        assert "mke2fs, debugfs, mcopy" in str(caught.value)

    def test_too_little_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Usage(NamedTuple):
            free: int

        monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100 << 20))
        with pytest.raises(ImageError, match=r"800 MiB.*'/var/tmp': '100 MiB free'"):
            packages.fetch("stable", ["one"], lambda path: True, lambda text, done: None)


class TestMachineCode:
    """Every jump lands on the instruction it names."""

    @staticmethod
    def lands(program: Program, origin: int) -> dict[str, str]:
        lines = {int(line[:4], 16): line for line in listing(program, origin).splitlines()}
        found = {}
        for address, line in lines.items():
            octets = bytes.fromhex(line[6:24])
            instruction = line[25:45].strip()
            if len(octets) == 2 and octets[0] in (0x72, 0x74, 0x75, 0xEB):
                target = address + 2 + struct.unpack("b", octets[1:])[0]
                found[f"{address:x} {instruction}"] = lines[target][25:45].strip()
        return found

    def test_hello(self) -> None:
        assert self.lands(hello.PROGRAM, 0x7C00) == {
            "7c15 jz halt": "cli",
            "7c25 jz wait": "in al, dx",
            "7c2b jmp next": "lodsb",
            "7c2f jmp halt + 1": "hlt",
        }
        message = hello.boot_sector().index(hello.MESSAGE.encode())
        assert f"{0x7C00 + message:x}" == "7c31"
        assert len(hello.boot_sector()) == 512

    def test_mbr(self) -> None:
        assert self.lands(mbr.PROGRAM, 0x600) == {
            "628 jne boot": "pop dx",
            "63c jc halt": "hlt",
            "647 jmp halt": "hlt",
        }
        program = assembled(mbr.PROGRAM)
        assert program[0x1D:].startswith(bytes.fromhex("ba1405"))  # moved
        assert program[0x49:].startswith(bytes.fromhex("ffff000a"))  # the request
        assert struct.unpack_from("<Q", program, 0x59 + 8) == (mbr.BOOT_SECTOR,)
        assert len(program) <= 440

    def test_partition_table(self) -> None:
        sector = mbr.first_sector(mbr.Partition(0x0C, 2048, 100, boot=True))
        assert len(sector) == 512
        assert sector[446] == 0x80
        assert struct.unpack_from("<II", sector, 446 + 8) == (2048, 100)


class TestPicking:
    def test_what_must_be_loaded_first_comes_last(self) -> None:
        folder = "usr/lib/modules/6.1/kernel"
        packages = {
            f"{folder}/virtio-blk.ko": module("ring,virtio", "virtio:d00000002v*"),
            f"{folder}/virtio.ko": module("ring"),
            f"{folder}/ring.ko": module(""),
            f"{folder}/other.ko": module(""),
        }
        found = picking.modules(packages, ("virtio_blk",))
        assert f"{folder}/other.ko" not in found
        dep = found["usr/lib/modules/6.1/modules.dep"].content.decode()
        assert "kernel/virtio-blk.ko: kernel/virtio.ko kernel/ring.ko\n" in dep
        alias = found["usr/lib/modules/6.1/modules.alias"].content
        assert alias == b"alias virtio:d00000002v* virtio_blk\n"

    def test_a_missing_one_is_told(self) -> None:
        with pytest.raises(ImageError, match=r"\['nosuch.ko'\]"):
            picking.modules({}, ("nosuch",))

    def test_libraries_follow_by_need(self) -> None:
        folder = picking.LIBRARIES
        packages = {
            f"{folder}/libone.so.1": link("libone.so.1.2"),
            f"{folder}/libone.so.1.2": Node(FILE, b"\0libc.so.6\0"),
            f"{folder}/libc.so.6": Node(FILE, b"\0ld-linux-x86-64.so.2\0"),
            f"{folder}/ld-linux-x86-64.so.2": Node(FILE),
            f"{folder}/libtwo.so.1": Node(FILE),
        }
        found = picking.libraries(packages, {"usr/bin/x": Node(PROGRAM, b"ELF\0libone.so.1\0")})
        assert found.keys() == packages.keys() - {f"{folder}/libtwo.so.1"}

    def test_busybox_says_what_it_can_do(self) -> None:
        program = Node(PROGRAM, b"ELF\0\0[\0[[\0acpid\0zcat\0\0more")
        assert picking.applets({"usr/bin/busybox": program}) == ["[", "[[", "acpid", "zcat"]

    def test_a_changed_file_changes_the_recipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = tiny.Tiny().fingerprint()
        monkeypatch.setattr(tree, "cpio", lambda files: b"another")
        assert tiny.Tiny().fingerprint() != before


def module(depends: str, alias: str = "") -> Node:
    """Return a kernel module, as far as modprobe's index is concerned."""
    said = f"\0license=GPL\0{f'alias={alias}' if alias else ''}\0depends={depends}\0name=x\0"
    return Node(FILE, b"ELF" + said.encode())
