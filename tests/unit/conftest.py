"""A libvirt of each test's own: the test driver, which keeps all it knows in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import kvmlab
from kvmlab import Lab

# What a lab host has: the default network and storage pool. The domain is libvirt's smallest.
NODE = """<node>
  <network><name>default</name><bridge name='virbr0'/><ip address='192.168.122.1'/></network>
  <pool type='dir'><name>default</name><target><path>/pool</path></target></pool>
  <domain type='test'><name>old</name><memory>65536</memory><os><type>hvm</type></os></domain>
</node>"""


@pytest.fixture
def test_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab with one running guest, "old", and nowhere near anybody's real guests."""
    monkeypatch.setenv("KVMLAB_HOME", str(tmp_path / "home"))
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    with kvmlab.connect(f"test://{node}") as lab:
        yield lab
