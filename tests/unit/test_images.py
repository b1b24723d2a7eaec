"""The catalogue and its cache: all or nothing, whatever happens, without any guest."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab.errors import ImageError, ImageNotFound
from kvmlab.images import Catalogue, private_key_path, public_key
from kvmlab.images.image import Content, Progress

# A recipe that stops where it is told to, says so, and goes on when it is told that.
STOPPING = """
import os, sys
from pathlib import Path
from kvmlab.images import Catalogue
from kvmlab.images.image import Content

def stop(place):
    if place == sys.argv[2]:
        print("at", place, flush=True)
        sys.stdin.readline()

class Recipe:
    def fingerprint(self):
        return "1"
    def build(self, folder, progress):
        with open(sys.argv[1] + "/built", "a") as count:
            count.write("x")
        (folder / "part").mkdir()
        (folder / "disk").write_text("half")
        stop("build")
        (folder / "disk").write_text("whole")
        (folder / "part").rmdir()
        return Content("A fake", "disk", "raw", 5, 64, 32)

rename, fsync = Path.rename, os.fsync
def stopping_rename(self, target):
    stop("before the rename")
    rename(self, target)
    stop("after the rename")
def stopping_fsync(number):
    fsync(number)
    stop("after writing")
Path.rename, os.fsync = stopping_rename, stopping_fsync

catalogue = Catalogue(Path(sys.argv[1], "images"), {"fake": Recipe()})
image = catalogue.ensure("fake", lambda text, done: print(text, flush=True))
print("digest", image.digest, flush=True)
"""


class Fake:
    """A recipe for an image of one small file."""

    def __init__(self, text: str = "whole", problem: BaseException | None = None) -> None:
        self.text = text
        self.problem = problem
        self.builds = 0

    def fingerprint(self) -> str:
        return f"recipe of {self.text}"

    def build(self, folder: Path, progress: Progress) -> Content:
        self.builds += 1
        (folder / "disk").write_text("half")
        if self.problem:
            raise self.problem
        (folder / "disk").write_text(self.text)
        return Content("A fake", "disk", "raw", 5, 64, 32)


def builder(folder: Path, stop_at: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STOPPING, folder, stop_at],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout
    for line in process.stdout:
        if line.startswith(word):
            return line.strip()
    raise AssertionError(f"the builder never said {word!r}")


class TestCatalogue:
    def test_knows_its_images_without_building_any(self, tmp_path: Path) -> None:
        catalogue = Catalogue(tmp_path)
        assert list(catalogue) == ["tiny", "hello", "debian", "alpine", "installer"]
        assert "tiny" in catalogue
        assert not catalogue.is_built("tiny")
        assert list(tmp_path.iterdir()) == []

    def test_builds_once(self, tmp_path: Path) -> None:
        recipe = Fake()
        catalogue = Catalogue(tmp_path, {"fake": recipe})
        said: list[tuple[str, float]] = []
        image = catalogue.ensure("fake", lambda text, done: said.append((text, done)))
        assert catalogue["fake"] == image
        assert recipe.builds == 1
        assert said[-1] == ("fake is ready", 1.0)
        assert image.disk.read_text() == "whole"
        assert image.disk.parent.name == image.digest[:16]

    def test_digest_is_what_sha256sum_says(self, tmp_path: Path) -> None:
        image = Catalogue(tmp_path, {"fake": Fake()})["fake"]
        folder = image.disk.parent
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
        said = subprocess.run(
            ["sha256sum", "SHA256SUMS"], cwd=folder, check=True, capture_output=True, text=True
        )
        assert said.stdout.split()[0] == image.digest

    def test_files_are_for_all_to_read_and_nobody_to_write(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            image = Catalogue(tmp_path, {"fake": Fake()})["fake"]
        finally:
            os.umask(before)
        assert stat.S_IMODE(image.disk.stat().st_mode) == 0o444
        assert stat.S_IMODE(image.disk.parent.stat().st_mode) == 0o755

    def test_changed_recipe_builds_anew_beside_the_old(self, tmp_path: Path) -> None:
        old = Catalogue(tmp_path, {"fake": Fake("old")})["fake"]
        newer = Catalogue(tmp_path, {"fake": Fake("new")})
        assert not newer.is_built("fake")
        assert newer["fake"].disk.read_text() == "new"
        assert old.disk.read_text() == "old"
        assert [verdict.ok for verdict in newer.verify()] == [True, True]

    def test_same_content_is_the_same_image(self, tmp_path: Path) -> None:
        class Changed(Fake):
            def fingerprint(self) -> str:
                return "another recipe, to the same effect"

        old = Catalogue(tmp_path, {"fake": Fake()})["fake"]
        newer = Catalogue(tmp_path, {"fake": Changed()})
        assert not newer.is_built("fake")
        assert newer["fake"] == old
        assert newer.is_built("fake")
        assert len(newer.verify()) == 1

    def test_build_builds_again(self, tmp_path: Path) -> None:
        recipe = Fake()
        catalogue = Catalogue(tmp_path, {"fake": recipe})
        assert catalogue.build("fake") == catalogue.build("fake")
        assert recipe.builds == 2

    def test_verify_sees_a_flipped_bit_and_build_mends_it(self, tmp_path: Path) -> None:
        catalogue = Catalogue(tmp_path, {"fake": Fake()})
        image = catalogue["fake"]
        image.disk.chmod(0o644)
        image.disk.write_bytes(b"whple")
        (verdict,) = catalogue.verify()
        assert (verdict.name, verdict.ok) == ("fake", False)
        assert verdict.expected == image.digest[:16] != verdict.seen
        assert catalogue.build("fake").disk.read_text() == "whole"
        assert catalogue.verify()[0].ok
        assert not list(tmp_path.glob(".building-*"))

    def test_unknown_name(self, tmp_path: Path) -> None:
        for ask in (Catalogue(tmp_path).ensure, Catalogue(tmp_path).build):
            with pytest.raises(ImageNotFound, match=r"saw 'huge'.*tiny, hello"):
                ask("huge")

    def test_hello_fits_its_sector(self, tmp_path: Path) -> None:
        image = Catalogue(tmp_path)["hello"]
        content = image.disk.read_bytes()
        assert len(content) == image.virtual_size
        assert content[510:512] == b"\x55\xaa"
        assert not any(content[512:])


class TestInterrupted:
    @pytest.mark.parametrize("place", ["build", "after writing", "before the rename"])
    def test_kill_leaves_no_half_image(self, tmp_path: Path, place: str) -> None:
        process = builder(tmp_path, place)
        read_until(process, "at")
        process.send_signal(signal.SIGKILL)
        process.wait()
        catalogue = Catalogue(tmp_path / "images", {"fake": Fake()})
        assert catalogue.verify() == []
        assert catalogue["fake"].disk.read_text() == "whole"
        assert not list((tmp_path / "images").glob(".building-*"))

    def test_kill_after_the_rename_leaves_a_whole_one(self, tmp_path: Path) -> None:
        process = builder(tmp_path, "after the rename")
        read_until(process, "at")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert [verdict.ok for verdict in Catalogue(tmp_path / "images").verify()] == [True]

    def test_two_at_once_build_one(self, tmp_path: Path) -> None:
        first = builder(tmp_path, "build")
        read_until(first, "at")
        second = builder(tmp_path)
        read_until(second, "waiting for another build")
        first.communicate("go on\n")
        digest = read_until(second, "digest").split()[1]
        second.communicate()
        (verdict,) = Catalogue(tmp_path / "images").verify()
        assert (verdict.ok, verdict.seen) == (True, digest[:16])
        assert (tmp_path / "built").read_text() == "x"

    def test_one_waiting_takes_over_from_one_killed(self, tmp_path: Path) -> None:
        first = builder(tmp_path, "build")
        read_until(first, "at")
        second = builder(tmp_path)
        read_until(second, "waiting for another build")
        first.kill()
        first.wait()
        read_until(second, "digest")
        second.communicate()
        assert (tmp_path / "built").read_text() == "xx"

    @pytest.mark.parametrize("problem", [KeyboardInterrupt(), ImageError("no"), ValueError()])
    def test_problems_leave_nothing(self, tmp_path: Path, problem: BaseException) -> None:
        with pytest.raises(type(problem)):
            Catalogue(tmp_path, {"fake": Fake(problem=problem)}).ensure("fake")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    def test_full_disk(self, tmp_path: Path) -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(ImageError, match=r"No space left.*Free some disk space"):
            Catalogue(tmp_path, {"fake": Fake(problem=full)}).ensure("fake")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    def test_cache_in_a_place_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ImageError, match="can't be written"):
            Catalogue(tmp_path / "file" / "images", {"fake": Fake()}).ensure("fake")


class TestKey:
    def test_is_made_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KVMLAB_HOME", str(tmp_path / "a home"))
        line = public_key()
        assert line == public_key()
        assert line.split()[0] == "ssh-ed25519"
        assert "\n" not in line
        key = private_key_path()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        derived = subprocess.run(
            ["ssh-keygen", "-y", "-f", key], check=True, capture_output=True, text=True
        )
        assert derived.stdout.split()[:2] == line.split()[:2]

    def test_a_lost_public_half_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KVMLAB_HOME", str(tmp_path))
        private_key_path().with_suffix(".pub").unlink()
        with pytest.raises(ImageError, match=r"Remove .*ssh"):
            public_key()

    def test_a_home_that_is_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("KVMLAB_HOME", str(tmp_path / "file"))
        with pytest.raises(ImageError, match="can't be written"):
            public_key()
