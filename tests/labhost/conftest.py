"""The lab host seen from the outside: people, their labs, and what they leave behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from people import Person, myself, ordinary_user
from traces import traces

from kvmlab.home import home
from kvmlab.labhost import client


@pytest.fixture(scope="session")
def _ordinary_user() -> Iterator[Person]:
    with ordinary_user() as person:
        yield person


@pytest.fixture(params=["root", "ordinary"] if os.geteuid() == 0 else ["ordinary"])
def person(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Somebody with an empty lab; what the lab host leaves behind fails the test."""
    who = myself() if request.param == "root" else request.getfixturevalue("_ordinary_user")
    # Not pytest's tmp_path: that is closed to other users, and too deep for some sockets.
    lab_home = Path(tempfile.mkdtemp(prefix="kvmlab-test-"))
    monkeypatch.setenv("KVMLAB_HOME", str(lab_home))
    if who.become:
        shutil.chown(lab_home, who.name, who.name)
    before = traces(lab_home)
    yield replace(who, lab_home=lab_home)
    client.shut_down()
    left = traces(lab_home) - before
    # Some files belong to users of the lab host's own; root may remove them all.
    into = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--map-auto"]
    os.spawnvp(os.P_WAIT, [*into, "rm"][0], [*into, "rm", "-rf", str(lab_home)])
    assert not left


@pytest.fixture
def furnished(person: Person) -> Person:
    """Give the person the images and the verdict that the real lab has already."""
    real = _real_home()
    for name in ("images", "acceleration.json"):
        source, target = real / name, person.lab_home / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy(source, target)
        if person.become:
            for each in [target, *target.rglob("*")]:
                shutil.chown(each, person.name, person.name)
    return person


REAL_HOME = home()


def _real_home() -> Path:
    return REAL_HOME
