"""The network form: its model against libvirt's test driver, and the widgets before it."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kvmlab import Lab, errors
from kvmlab.networks.cidr import parse_block
from kvmlab.networks.wish import MODES
from kvmlab.specs import NetworkSpec
from kvmlab.widgets import network as network_view
from kvmlab.widgets.network_model import NetworkModel
from kvmlab.widgets.network_order import NetworkOrder, Surroundings, judge

AROUND = Surroundings(
    frozenset({"default"}),
    ((parse_block("192.168.122.0/24"), "network 'default'"),),
    ("br0",),
)
ORDER = NetworkOrder("lan", "nat", "10.10.0.0/24")


@pytest.fixture
def model(test_lab: Lab) -> Iterator[NetworkModel]:
    model = NetworkModel(test_lab, "lan")
    yield model
    model.close()


class TestNotes:
    @pytest.mark.parametrize(
        ("field", "value", "kind", "says"),
        [
            ("name", "lan", "hint", "plugged"),
            ("name", "", "error", "can't be the name"),
            ("name", "a b", "error", "letters, digits"),
            ("name", "default", "error", "already"),
            ("mode", "isolated", "hint", "nothing else"),
            ("cidr", "10.10.0.0/24", "hint", "Room for 253 guests"),
            ("cidr", "10.10.0.0/24, fd00:10::/64", "hint", "any number in IPv6"),
            ("cidr", "", "warning", "switch"),
            ("cidr", "10.10.0.0", "error", "no subnet"),
            ("cidr", "10.10.0.1/24", "error", "Write 10.10.0.0/24"),
            ("cidr", "192.168.122.0/25", "error", "network 'default'"),
            ("dhcp", False, "hint", "by hand"),
            ("isolated_ports", True, "hint", "not each other"),
        ],
    )
    def test_each_field_is_judged(self, field: str, value: Any, kind: str, says: str) -> None:
        note = judge(replace(ORDER, **{field: value}), AROUND)[field]
        assert (note.kind, says in note.text) == (kind, True), note

    def test_a_bridge_of_the_host_has_its_own_say(self) -> None:
        order = replace(ORDER, mode="bridge", cidr="nonsense", bridge="br0")
        notes = judge(order, AROUND)
        assert {note.kind for note in notes.values()} == {"hint"}
        assert judge(replace(order, bridge=None), AROUND)["bridge"].kind == "error"
        without = replace(AROUND, bridges=())
        assert "ip link add" in judge(order, without)["bridge"].text

    def test_what_was_made_here_is_told(self) -> None:
        block = parse_block("10.10.0.0/24")
        ours = ((block, "network 'lan'"), (block, "this host's interface virbr1"))
        around = replace(
            AROUND, networks=frozenset({"default", "lan"}), taken=(*AROUND.taken, *ours)
        )
        notes = judge(ORDER, around, "lan")
        assert notes["name"].kind == "done"
        assert notes["cidr"].kind == "hint"
        another = judge(replace(ORDER, name="lan2"), around, "lan")
        assert "network 'lan'" in another["cidr"].text


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        replace(ORDER, cidr="10.10.0.0/24,fd00:10::/64", dhcp=False, isolated_ports=True),
        replace(ORDER, cidr=""),
        replace(ORDER, mode="bridge", bridge="br0"),
    ],
)
def test_the_python_shown_is_the_call_that_is_made(order: NetworkOrder) -> None:
    (statement,) = ast.parse(order.python).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    called = {word.arg: ast.literal_eval(word.value) for word in statement.value.keywords}
    assert called == order.arguments
    assert ast.literal_eval(statement.value.args[0]) == order.name


class TestModel:
    def test_begins_with_what_can_be_made(self, test_lab: Lab) -> None:
        model = NetworkModel(test_lab)
        assert model.can_create
        assert model.order.name == "net1"
        assert "net-define" in model.virsh
        assert [switch.name for switch in model.topology.switches] == ["default", "net1"]
        model.close()

    def test_shows_what_is_ordered_on_the_map(self, model: NetworkModel, test_lab: Lab) -> None:
        model.set(cidr="192.168.122.0/24")
        assert not model.can_create
        assert [switch.name for switch in model.topology.switches] == ["default"]
        model.set(cidr="10.10.0.0/24", mode="isolated", isolated_ports=True)
        draft = model.topology.switches[-1]
        assert (draft.mode, draft.subnets, draft.is_draft, draft.isolated_ports) == (
            "isolated",
            ("10.10.0.0/24",),
            True,
            True,
        )
        assert list(test_lab.networks) == ["default"]
        assert len(test_lab.virsh_log) == 0 or "net-define" not in str(test_lab.virsh_log)

    def test_makes_it_once(self, model: NetworkModel, test_lab: Lab) -> None:
        model.set(mode="isolated", cidr="10.10.0.0/24")
        made = model.create()
        assert made.mode == "isolated"
        assert model.create() is made
        assert not model.can_create
        assert model.notes["name"].kind == "done"
        assert not model.topology.switches[-1].is_draft
        assert list(test_lab.networks) == ["default", "lan"]

    def test_says_why_it_was_not_made(self, model: NetworkModel, test_lab: Lab) -> None:
        test_lab.networks.create("lan")  # by somebody else, meanwhile
        with pytest.raises(errors.NetworkAlreadyExists):
            model.create()
        assert "of that name" in model.problem
        model.set(name="other")
        assert model.problem == ""

    def test_follows_what_guests_do(self, model: NetworkModel, test_lab: Lab) -> None:
        assert model.topology.guests[0].state == "running"
        changed = threading.Event()
        model.on_change = changed.set
        test_lab.guests["old"].destroy()
        assert changed.wait(10)
        assert model.topology.guests[0].state == "shut off"

    def test_a_map_is_looked_at_again(self, model: NetworkModel, test_lab: Lab) -> None:
        test_lab.networks.create("street", mode="routed")
        model.refresh()
        assert "street" in {switch.name for switch in model.topology.switches}


class TestForm:
    @pytest.fixture
    def form(self, test_lab: Lab) -> Iterator[network_view.NetworkForm]:
        form = network_view.network_form(test_lab, "lan")
        yield form
        form.close()

    def test_is_one_line_in_a_notebooks_file(self, form: network_view.NetworkForm) -> None:
        assert repr(form).endswith("run this cell to see it.")

    def test_every_field_has_a_label_and_a_term(self, form: network_view.NetworkForm) -> None:
        for field in form.fields.values():
            assert field.description
            assert field.tooltip == network_view.TERMS[field.description]
        assert form.fields["mode"].options == MODES

    def test_filling_in_changes_notes_code_and_map(self, form: network_view.NetworkForm) -> None:
        before = form._map.value
        form.fields["cidr"].value = "10.10.0.0"
        assert 'role="alert"' in form._notes["cidr"].value
        assert form.button.disabled
        form.fields["cidr"].value = "10.10.0.0/24"
        form.fields["mode"].value = "isolated"
        assert not form.button.disabled
        assert "10.10.0.0/24" in form._python.value
        assert "&lt;network" in form._virsh.value
        assert form._map.value != before
        assert 'alt="A map of the networks' in form._map.value

    def test_a_bridge_makes_other_fields_useless(self, form: network_view.NetworkForm) -> None:
        assert form.fields["bridge"].disabled
        form.fields["mode"].value = "bridge"
        assert form.fields["cidr"].disabled
        assert not form.fields["bridge"].disabled

    def test_the_button_makes_it(self, form: network_view.NetworkForm, test_lab: Lab) -> None:
        assert form.network is None
        form.button.click()
        assert form.network is not None
        assert form.network.name == "lan"
        assert "is made" in form._result.value
        assert form.create() is form.network
        assert isinstance(form.network.spec, NetworkSpec)
        assert "lan" in test_lab.networks
