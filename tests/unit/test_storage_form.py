"""The storage form: its model against libvirt's test driver, and the widgets before it."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from kvmlab import Disk, Lab, errors
from kvmlab.storage.disk import DiskInfo
from kvmlab.storage.disks import Disks
from kvmlab.widgets import storage
from kvmlab.widgets.storage_model import StorageModel
from kvmlab.widgets.storage_order import DiskOrder

GUEST = """<domain type='test'><name>web</name><memory>1024</memory><os><type>hvm</type></os>
<devices>
  <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='/pool/web.qcow2'/><target dev='vda' bus='virtio'/></disk>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/>
    <source file='/pool/data.img'/><target dev='vdb' bus='virtio'/></disk>
  <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
</devices></domain>"""
SIZES = DiskInfo(2**30, 2**20, 2**20)


@pytest.fixture
def model(test_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> StorageModel:
    """The form's model for a guest that is off; presses are done at once."""
    test_lab.connection.defineXML(GUEST)
    # The test driver has no sizes of disks.
    monkeypatch.setattr(Disk, "info", lambda self: SIZES)
    pool = next(iter(test_lab.pools))
    return StorageModel(test_lab, "web", pool, run=lambda work: work())


class TestOrder:
    @pytest.mark.parametrize(
        ("order", "arguments"),
        [
            (DiskOrder("a.qcow2"), {"size_gib": 0.25}),
            (DiskOrder("a.img", 2, "raw"), {"size_gib": 2, "format": "raw"}),
        ],
    )
    def test_it_is_spelt_as_python(self, order: DiskOrder, arguments: dict[str, object]) -> None:
        create, attach = order.python("web", "default").splitlines()
        call = ast.parse(create).body[0]
        assert isinstance(call, ast.Assign)
        assert isinstance(call.value, ast.Call)
        assert ast.literal_eval(call.value.args[0]) == order.name
        told = {each.arg: ast.literal_eval(each.value) for each in call.value.keywords}
        assert told == arguments
        assert attach == 'lab.guests["web"].disks.attach(volume)'


class TestModel:
    def test_it_lists_disks_and_no_cd_drives(self, model: StorageModel) -> None:
        assert model.targets == ["vda", "vdb"]
        assert model.chosen == "vdb"
        assert model.rows[1].source == "data.img"

    def test_it_begins_with_a_name_that_is_free(self, model: StorageModel) -> None:
        assert model.order == DiskOrder("web-disk1.qcow2")
        assert model.can_plug
        create, attach = model.virsh.splitlines()
        assert "vol-create-as" in create
        assert "268435456B --format qcow2" in create
        assert "/web-disk1.qcow2 vdc --targetbus virtio" in attach
        assert attach.endswith("--config")

    @pytest.mark.parametrize(
        ("filled_in", "told"),
        [({"name": "a/b"}, "a/b"), ({"size_gib": 0}, "0"), ({"size_gib": 16000}, "GiB left")],
    )
    def test_what_can_not_be_is_said_before_a_press(
        self, model: StorageModel, filled_in: dict[str, object], told: str
    ) -> None:
        model.set(**filled_in)
        assert told in model.problem
        assert not model.can_plug
        assert model.virsh == ""

    def test_a_suggested_name_fits_the_format(self, model: StorageModel) -> None:
        model.set(format="raw")
        assert model.order == DiskOrder("web-disk1.img", format="raw")
        model.set(name="own.qcow2")
        model.set(format="qcow2")
        model.set(format="raw")
        assert model.order.name == "own.qcow2"

    @pytest.mark.parametrize(
        "change",
        [
            lambda model: model.set(size_gib=1),
            lambda model: model.choose("vda"),
            lambda model: model.cancel(),
        ],
        ids=["fill in", "choose", "leave"],
    )
    def test_what_was_said_goes_with_what_it_was_on(
        self, model: StorageModel, change: Callable[[StorageModel], None]
    ) -> None:
        model.ask_grow(0.5)
        assert model.message is not None
        change(model)
        assert model.message is None

    def test_a_volume_that_can_not_be_plugged_in_goes_again(
        self, model: StorageModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: Disks, source: object) -> None:
            raise errors.NotSupported("no slot left")

        monkeypatch.setattr(Disks, "attach", refuse)
        order, before = model.order, list(model._pool.volumes)
        model.plug()
        assert model.message is not None
        assert model.message.failed
        assert "no slot left" in model.message.text
        assert list(model._pool.volumes) == before
        assert model.order == order

    def test_growing_is_asked_with_what_follows(
        self, model: StorageModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[object] = []
        monkeypatch.setattr(Disk, "resize", lambda self, gib: seen.append((self.target, gib)))
        monkeypatch.setattr(StorageModel, "_command_to_grow", lambda *_: "virsh vol-resize")
        model.ask_grow(2)
        assert model.asking is not None
        assert model.asking.python == 'lab.guests["web"].disks["vdb"].resize(2)'
        assert "from 1 to 2 GiB" in model.asking.text
        assert seen == []
        model.confirm()
        assert seen == [("vdb", 2)]

    @pytest.mark.parametrize("size", [0, 0.5, 1])
    def test_no_disk_grows_smaller(self, model: StorageModel, size: float) -> None:
        model.ask_grow(size)
        assert model.asking is None
        assert model.message is not None
        assert model.message.failed

    def test_unplugging_is_asked_and_can_be_left(
        self, model: StorageModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []
        monkeypatch.setattr(Disk, "detach", lambda self: seen.append(self.target))
        model.ask_unplug()
        assert model.asking is not None
        assert model.asking.virsh.endswith("detach-disk web vdb --config")
        model.cancel()
        assert (model.asking, seen) == (None, [])
        model.ask_unplug()
        model.confirm()
        assert seen == ["vdb"]

    def test_the_system_disk_is_not_unplugged(self, model: StorageModel) -> None:
        model.choose("vda")
        assert not model.can_unplug
        model.ask_unplug()
        assert model.asking is None


class TestForm:
    def test_it_shows_what_will_be_done(self, model: StorageModel) -> None:
        form = storage.StorageForm(model)
        assert "run this cell to see it" in repr(form)
        assert "vol-create-as" in form._code.value
        assert "data.img" in form._table.value
        assert form._question.layout.display == "none"
        form.fields["name"].value = "a/b"
        assert form.buttons["plug"].disabled
        assert 'role="alert"' in form._status.value

    def test_a_question_is_asked_in_the_form(self, model: StorageModel) -> None:
        form = storage.StorageForm(model)
        form._chosen.value = "vda"
        assert model.chosen == "vda"
        assert form.buttons["unplug"].disabled
        form._chosen.value = "vdb"
        form.buttons["unplug"].click()
        assert form._question.layout.display == "flex"
        assert "detach-disk web vdb" in form._code.value
        form.buttons["no"].click()
        assert form._question.layout.display == "none"

    def test_a_question_goes_when_its_size_is_changed(
        self, model: StorageModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(StorageModel, "_command_to_grow", lambda *_: "virsh vol-resize")
        form = storage.StorageForm(model)
        form.size.value = 2
        form.buttons["grow"].click()
        assert model.asking is not None
        form.size.value = 3
        assert model.asking is None

    def test_everything_has_a_label(self, model: StorageModel) -> None:
        form = storage.StorageForm(model)
        for field in (*form.fields.values(), form._chosen, form.size):
            assert field.description
            assert field.tooltip
