"""Real guests, in the lab host. Without one these tests fail: skipping would prove nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from made import PREFIX, Make

import kvmlab
from kvmlab import Guest, Lab, Pool, errors


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with kvmlab.connect() as lab:
        yield lab
        for guest in list(lab.guests.values()):
            if guest.name.startswith(PREFIX):
                with suppress(errors.KvmlabError):  # so that all others go, too
                    guest.delete()
        assert not [name for name in lab.guests if name.startswith(PREFIX)]
        left = [name for name in lab.pools["default"].volumes if name.startswith(PREFIX)]
        assert not left, f"volumes that no guest took along: {left}"


@pytest.fixture(scope="session")
def web(lab: Lab) -> Guest:
    """A guest that runs and is ready. Whoever changes that changes it back."""
    web = lab.guests.create(f"{PREFIX}web", image="tiny", max_memory_mib=256)
    web.start()
    web.wait_ready()
    return web


@pytest.fixture
def make(lab: Lab) -> Iterator[Make]:
    """Make guests that are gone after the test."""
    made: list[Guest] = []

    def make(name: str = "guest", **wish: Any) -> Guest:
        made.append(lab.guests.create(PREFIX + name, **wish))
        return made[-1]

    yield make
    for guest in made:
        with suppress(errors.GuestNotFound):
            guest.delete()


@pytest.fixture
def small_pool(lab: Lab, tmp_path: Path) -> Iterator[Pool]:
    """A storage pool on a file system of its own, of 4 MiB."""
    folder = tmp_path / "pool"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=True)
    try:
        pool = lab.connection.storagePoolCreateXML(
            f"<pool type='dir'><name>{PREFIX}small</name>"
            f"<target><path>{folder}</path></target></pool>"
        )
        try:
            yield lab.pools[f"{PREFIX}small"]
        finally:
            pool.destroy()
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def data(lab: Lab) -> Iterator[Pool]:
    """A storage pool of the test's own, gone with all that is in it after the test.

    Ask for it before `make`: then the guests that use it go before it does.
    """
    pool = lab.pools.create(f"{PREFIX}data", autostart=False)
    yield pool
    if not pool.is_active:
        pool.start()
    for guest in lab.guests.values():  # of a test that failed halfway
        for disk in guest.disks.values():
            if disk.path and disk.path.startswith(f"{pool.path}/"):
                disk.detach()
    pool.delete(contents=True)
    assert pool.name not in lab.pools
