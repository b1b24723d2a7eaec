"""The storage form's model on a real guest: what it shows is what is then done."""

from __future__ import annotations

from made import await_device

from kvmlab import Guest, Lab, Pool
from kvmlab.widgets.storage_model import StorageModel


def test_a_disk_is_made_plugged_in_grown_and_unplugged(lab: Lab, web: Guest, data: Pool) -> None:
    model = StorageModel(lab, web.name, data.name, run=lambda work: work())
    name, virsh = model.order.name, model.virsh
    with lab.virsh_log.action() as action:
        model.plug()
    assert model.message is not None
    assert not model.message.failed, model.message.text
    assert virsh in str(action.commands)
    assert model.targets == ["vda", "vdb"]
    assert model.rows[1].source == name

    model.ask_grow(0.5)
    assert model.asking is not None
    virsh = model.asking.virsh
    with lab.virsh_log.action() as action:
        model.confirm()
    assert virsh in str(action.commands)
    assert model.rows[1].capacity_bytes == 2**29

    model.ask_unplug()
    assert model.asking is not None
    virsh = model.asking.virsh
    with lab.virsh_log.action() as action:
        model.confirm()
    assert virsh in str(action.commands)
    assert list(web.disks) == ["vda"]
    assert name in data.volumes


def test_a_raw_disk_takes_no_room_where_it_has_holes(lab: Lab, web: Guest, data: Pool) -> None:
    volume = data.volumes.create("holes.img", size_gib=0.0625, format="raw")
    disk = web.disks.attach(volume)
    await_device(web, "vdb")
    web.run("echo at its end | dd of=/dev/vdb bs=1M seek=63 conv=fsync", check=True)
    assert disk.info().allocation_bytes > 2**25  # as far as QEMU has written
    row = StorageModel(lab, web.name, data.name).rows[1]
    assert row.allocation_bytes == volume.allocation_bytes < 2**20
    disk.detach()
