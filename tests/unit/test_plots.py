"""The pictures: what they say, and that nothing in them runs into anything else."""

from __future__ import annotations

import io
import itertools
import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from kvmlab import Lab, SnapshotNode, plots
from kvmlab.networks.topology import Cable, Station, Switch, Topology
from kvmlab.plots import drawing, networkmap, statechart
from kvmlab.plots import snapshots as snapshot_chart
from kvmlab.storage.chains import Link

TRANSITIONS = [
    ("no guest", "define", "shut off"),
    ("shut off", "undefine", "no guest"),
    ("shut off", "start", "running"),
    ("running", "shutdown", "shut off"),
    ("running", "destroy", "shut off"),
    ("running", "reboot", "running"),
    ("running", "suspend", "paused"),
    ("paused", "resume", "running"),
    ("paused", "destroy", "shut off"),
    ("running", "managed_save", "saved"),
    ("saved", "start", "running"),
    ("saved", "managedsave-remove", "shut off"),
]
HOUSE = Topology(
    "kvmlab",
    (("eth0", "10.0.2.15"),),
    (
        Switch("default", "nat", "virbr0", ("192.168.122.0/24",)),
        Switch("street", "routed", "virbr1", ("10.20.0.0/24", "fd00:20::/64")),
        Switch("cellar", "isolated", "virbr2", ("10.30.0.0/24",), isolated_ports=True),
        Switch("br0", "bridge", "br0"),
    ),
    (
        Station("ann", "running", (Cable("default", "vnet0", ("192.168.122.57",)),)),
        Station(
            "bob",
            "running",
            (
                Cable("street", "vnet1", ("10.20.0.9", "fd00:20::5054:ff:fe12:3456")),
                Cable("cellar", "vnet2", is_plugged_in=False),
            ),
        ),
        Station("cleo", "shut off", (Cable("br0"),)),
        Station("dan", "paused"),
    ),
)
LONG = "a-name-that-is-as-long-as-the-name-of-a-guest-may-be-by-the-rule"[:63]
CROWD = Topology(
    LONG,
    (("enp0s31f6", "10.200.200.200"), ("wlan0", "10.100.100.100")),
    tuple(
        Switch(f"{number}{LONG}"[:63], mode, f"virbr{number}", ("fd00:dead:beef:1::/64",) * number,
               is_active=number % 3 != 2, isolated_ports=number % 2 == 0)
        for number, mode in enumerate([*networkmap.LEAVES, "hostdev", ""])
    ),
    tuple(
        Station(f"{number}{LONG}"[:63], ("running", "shut off", "in shutdown")[number % 3], tuple(
            Cable(f"{card}{LONG}"[:63], f"vnet{number}{card}" if number % 3 != 1 else None,
                  ("fd00:dead:beef:1:5054:ff:fe12:3456",) * (card % 3), card != 3)
            for card in range(number % 8)
        ))
        for number in range(12)
    ),
)  # fmt: skip
TAKEN = datetime(2026, 11, 24, 8, 15, tzinfo=UTC)


def node(name: str, *children: SnapshotNode, **more: Any) -> SnapshotNode:
    return SnapshotNode(name, **{"created": TAKEN, "children": children} | more)


def chain(count: int) -> SnapshotNode:
    """One snapshot after the other."""
    last: tuple[SnapshotNode, ...] = ()
    for number in range(count, 0, -1):
        last = (node(f"step-{number}", *last, has_memory=number % 2 == 0, is_current=not last),)
    return last[0]


LONG_NAME = "a-name-as-long-as-one-may-be-which-is-63-letters-and-some-digits"[:63]
SNAPSHOTS = {
    "no snapshots": [],
    "one snapshot": [node("clean", is_current=True)],
    "three snapshots": [
        node(
            "clean",
            node("tried", description="an update that went wrong", has_memory=True),
            node("update", has_memory=True, state="running", is_current=True),
            description="freshly installed",
        )
    ],
    "fifteen snapshots": [chain(15)],
    "many branches": [
        node("root", *(node(f"try-{n}", node(f"more-{n}"), kind="external") for n in range(7)))
    ],
    "deep to the right": [
        node("a", node("b", node("c", node("d"), node("e")), node("f")), node("g"))
    ],
    "long names": [
        node(LONG_NAME, node(LONG_NAME[::-1], is_current=True, description="long " * 60))
    ],
    "two roots": [node("old", node("older")), node("new", is_current=True, kind="external")],
}
GIB, MIB = 2**30, 2**20
IMAGE = Link("/pool/kvmlab-tiny-3fa9c2d17b60.qcow2", "qcow2", 2 * GIB, 60 * MIB)


def overlay(name: str, backing: str, *users: str) -> Link:
    return Link(f"/pool/{name}", "qcow2", 2 * GIB, 3 * MIB, backing, users)


CHAINS = {
    "no chains": [],
    "a file alone": [Link("/pool/data.img", "raw", 0, 0)],
    "a guest's disk": [Link("/pool/data.img", "raw", GIB, 200704, None, ("web (vdb)",))],
    "a chain": [overlay("clean", "/pool/web", "web (vda)"), overlay("web", IMAGE.path), IMAGE],
    "a forest of chains": [
        IMAGE,
        *(overlay(f"g{n}.qcow2", IMAGE.path, f"g{n} (vda)") for n in range(3)),
        overlay("x.qcow2", "/gone/lost.qcow2"),
        Link("/pool/shared.img", "raw", GIB, GIB, None, ("ann (vdb)", "bob (vdb)")),
    ],
    "a wide chain": [IMAGE, *(overlay(f"g{n}", IMAGE.path, f"g{n} (vda)") for n in range(20))],
    "a deep chain": [
        IMAGE,
        overlay("o0", IMAGE.path),
        *(overlay(f"o{n}", f"/pool/o{n - 1}", *["deep (vda)"] * (n == 9)) for n in range(1, 10)),
    ],
    "long names in a chain": [
        Link(f"/pool/{LONG}", "qcow2", 1023 * GIB, 1001 * MIB),
        overlay(f"2{LONG}", f"/pool/{LONG}", f"{LONG} (vda)", f"{'W' * 63} (vdb)"),
    ],
}
PICTURES = {
    "network_map": lambda: plots.network_map(HOUSE),
    "a crowded network_map": lambda: plots.network_map(CROWD),
    "an empty network_map": lambda: plots.network_map(Topology("kvmlab")),
    "hypervisor_types": plots.hypervisor_types,
    "stack": plots.stack,
    "guest_states": lambda: plots.guest_states(TRANSITIONS),
    "one state": lambda: plots.guest_states([("running", "reboot", "running")]),
    "no states": lambda: plots.guest_states([]),
    **{name: partial(plots.snapshot_tree, nodes) for name, nodes in SNAPSHOTS.items()},
    **{name: partial(plots.backing_chain, links) for name, links in CHAINS.items()},
}


@pytest.fixture(params=PICTURES, scope="module")
def picture(request: pytest.FixtureRequest) -> drawing.Picture:
    return PICTURES[request.param]()


def texts(picture: drawing.Picture) -> dict[str, Bbox]:
    """The place of every piece of text, in units of the board."""
    picture.canvas.draw()
    to_board = picture.board.transData.inverted()
    found = {}
    for number, text in enumerate(picture.board.texts):
        if text.get_text():
            extent = text.get_window_extent().transformed(to_board)
            found[f"{number}: {text.get_text()}"] = extent
    return found


def boxes(picture: drawing.Picture) -> list[Bbox]:
    """The place of every box."""
    patches = [patch for patch in picture.board.patches if isinstance(patch, FancyBboxPatch)]
    return [Bbox.from_bounds(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in patches]


def collisions(picture: drawing.Picture) -> list[tuple[str, str]]:
    found = texts(picture)
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(found.items(), 2)
        if Bbox.intersection(a.padded(-0.5), b.padded(-0.5))
    ]


def test_no_text_runs_into_another(picture: drawing.Picture) -> None:
    assert collisions(picture) == []


def test_all_text_is_inside_the_card(picture: drawing.Picture) -> None:
    width, height = picture.get_size_inches() * drawing.PER_INCH
    for text, box in texts(picture).items():
        assert min(box.x0, box.y0) > 8, text
        assert max(box.x1 - width, box.y1 - height) < -8, text


def test_text_is_inside_a_box_or_beside_it_but_never_across_its_border(
    picture: drawing.Picture,
) -> None:
    for text, place in texts(picture).items():
        for box in boxes(picture):
            common = Bbox.intersection(place, box)
            if common is not None:
                inside = common.width * common.height
                assert inside == pytest.approx(place.width * place.height, rel=0.01), text


def test_a_picture_is_a_figure_with_alternative_text(picture: drawing.Picture) -> None:
    assert isinstance(picture, Figure)
    assert picture.alt.endswith(".")


def test_a_picture_shows_itself_once_with_alternative_text(picture: drawing.Picture) -> None:
    shown, _ = DisplayFormatter().format(picture)
    assert set(shown) == {"text/plain", "text/html"}
    assert shown["text/plain"] == picture.alt
    assert shown["text/html"].startswith(f'<img alt="{picture.alt.replace(chr(39), "&#x27;")}"')


def test_the_card_is_opaque_and_the_fills_stay_apart() -> None:
    image = Image.open(io.BytesIO(plots.stack().png()))
    assert image.size == (1960, 1260)
    assert "transparency" not in image.info
    colors = image.convert("RGB").getcolors(maxcolors=256)
    assert colors is not None
    seen = [color for _, color in sorted(colors, reverse=True)]
    for role in ("GUEST", "PROCESS", "KERNEL", "TOOL", "SYSTEM", "HARDWARE"):
        wanted = [round(255 * part) for part in to_rgb(getattr(drawing, role)[0])]
        nearest = min(max(abs(a - b) for a, b in zip(wanted, c, strict=True)) for c in seen[:12])
        assert nearest <= 3, role


def test_pictures_are_the_same_every_time() -> None:
    assert plots.stack().png() == plots.stack().png()


def test_pyplot_stays_out() -> None:
    code = (
        "import sys; from kvmlab import plots; plots.stack().png();"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def luminance(color: str) -> float:
    """Relative luminance as in WCAG 2."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("ink", [drawing.INK, drawing.MUTED])
def test_text_stands_out_from_every_fill(ink: str) -> None:
    roles = ("GUEST", "PROCESS", "KERNEL", "TOOL", "SYSTEM", "HARDWARE")
    fills = [drawing.CARD] + [getattr(drawing, role)[0] for role in roles]
    for fill in fills:
        contrast = (luminance(fill) + 0.05) / (luminance(ink) + 0.05)
        assert contrast >= 4.5, fill  # WCAG 2 level AA


def test_states_and_actions_are_all_drawn() -> None:
    picture = plots.guest_states(TRANSITIONS)
    written = " ".join(texts(picture))
    for before, action, after in TRANSITIONS:
        for word in (before, action, after):
            assert word in written
    assert "From running, shutdown or destroy leads to shut off." in picture.alt


def test_the_same_transition_twice_is_drawn_once() -> None:
    twice = plots.guest_states([*TRANSITIONS, *TRANSITIONS])
    assert twice.alt == plots.guest_states(TRANSITIONS).alt


def test_a_state_of_your_own_finds_a_place() -> None:
    picture = plots.guest_states([("running", "dream", "dreaming"), ("dreaming", "x", "shut off")])
    assert "dreaming" in " ".join(texts(picture))
    assert collisions(picture) == []


def test_more_states_than_places_are_refused() -> None:
    with pytest.raises(ValueError, match="more states"):
        plots.guest_states([(f"state {n}", "go", f"state {n + 1}") for n in range(9)])


@pytest.mark.parametrize("seed", range(8))
def test_any_mixture_of_transitions_stays_legible(seed: int) -> None:
    chance = random.Random(seed)
    extra = [("running", "panic", "crashed"), ("crashed", "destroy", "shut off")]
    some = chance.sample([*TRANSITIONS, *extra], k=chance.randint(1, 12))
    picture = plots.guest_states(some)
    assert collisions(picture) == []


def test_known_states_have_places_of_their_own() -> None:
    places = [entry[:2] for entry in statechart.KNOWN.values()]
    assert len(set(places)) == len(places) == 9


class TestTheNetworkMap:
    def test_says_in_words_what_it_shows(self) -> None:
        said = plots.network_map(HOUSE).alt
        for words in (
            "default (192.168.122.0/24) is nat: with the host's address on it.",
            "cellar (10.30.0.0/24, its ports isolated from each other) is isolated: no way",
            "Guest ann, running, is plugged into default (192.168.122.57).",
            "and cellar (unplugged).",
            "Guest dan, paused, has no network card.",
        ):
            assert words in said

    def test_draws_a_cable_for_each_card_that_ends_at_its_network(self) -> None:
        board = plots.network_map(HOUSE).board
        dots = [line for line in board.lines if line.get_marker() == "o"]
        assert len(dots) == sum(len(guest.cables) for guest in HOUSE.guests)
        columns = sorted({round(float(np.asarray(dot.get_xdata())[0])) for dot in dots})
        assert len(columns) == len(HOUSE.switches)
        # A cable that carries nothing is told by its dot, and not by colour alone.
        hollow = [dot for dot in dots if to_rgb(dot.get_color()) == to_rgb(drawing.CARD)]  # type: ignore[arg-type]
        assert len(hollow) == 2

    def test_of_a_lab_reads_it(self, test_lab: Lab) -> None:
        said = plots.network_map(test_lab).alt
        assert "default (192.168.122.0/24) is isolated" in said
        assert "Guest old, running, has no network card." in said

    @pytest.mark.parametrize("room", [30, 60, 120, 1000])
    def test_shortens_names_to_what_there_is_room_for(self, room: float) -> None:
        shown = drawing.fit(LONG, 11, room, bold=True)
        assert drawing.length(shown, 11, bold=True) <= room
        assert (shown == LONG) == (room == 1000)
        assert shown[0] == LONG[0]
        assert shown[-1] == LONG[-1]


class TestSnapshotTree:
    def test_everything_is_said_in_words(self) -> None:
        picture = plots.snapshot_tree(SNAPSHOTS["three snapshots"])
        assert picture.alt == (
            "A tree of 3 snapshots. clean (internal): freshly installed. tried (internal, with "
            "memory), after clean: an update that went wrong. update (internal, with memory), "
            "after clean. You are here: after update."
        )
        written = " ".join(texts(picture))
        for word in ("clean", "tried", "update", "internal", "memory", "you are here"):
            assert word in written

    def test_the_way_to_the_present_is_straight(self) -> None:
        rows = snapshot_chart.arrange(SNAPSHOTS["three snapshots"])
        assert [row.lane for row in rows if row.is_past] == [0, 0, 0]
        assert [row.node.name for row in rows if row.node and not row.is_past] == ["tried"]

    def test_after_a_revert_what_was_branches_off(self) -> None:
        rows = snapshot_chart.arrange([node("clean", node("dead-end"), is_current=True)])
        assert [(row.node and row.node.name, row.lane) for row in rows] == [
            ("clean", 0),
            ("dead-end", 1),
            (None, 0),
        ]

    def test_no_line_goes_through_a_row_of_another(self) -> None:
        for nodes in SNAPSHOTS.values():
            rows = snapshot_chart.arrange(nodes)
            for number, row in enumerate(rows):
                if row.parent is not None:
                    lane = rows[row.parent].lane
                    assert all(each.lane > lane for each in rows[row.parent + 1 : number])

    def test_a_guest_is_asked_for_its_tree(self) -> None:
        class Asked:
            class snapshots:  # noqa: N801
                tree = staticmethod(lambda: SNAPSHOTS["one snapshot"])

        picture = plots.snapshot_tree(Asked())  # type: ignore[arg-type]
        assert picture.alt.startswith("A tree of 1 snapshot.")

    def test_nothing_yet(self) -> None:
        assert plots.snapshot_tree([]).alt == "A tree of no snapshots. You are here: at the start."


class TestBackingChain:
    def test_everything_is_said_in_words(self) -> None:
        assert plots.backing_chain(CHAINS["a chain"]).alt == (
            "Backing chains: clean (qcow2, takes 3 MiB of 2 GiB), an overlay on web, a disk of "
            "web (vda); web (qcow2, takes 3 MiB of 2 GiB), an overlay on "
            "kvmlab-tiny-3fa9c2d17b60.qcow2; kvmlab-tiny-3fa9c2d17b60.qcow2 (qcow2, takes 60 MiB "
            "of 2 GiB)."
        )
        assert "no volume" in plots.backing_chain([]).alt

    def test_a_base_that_is_gone_is_shown_as_gone(self) -> None:
        written = " ".join(texts(plots.backing_chain(CHAINS["a forest of chains"])))
        assert "lost.qcow2" in written
        assert "or gone" in written

    def test_of_a_deep_chain_both_ends_are_drawn_and_it_fits_the_page(self) -> None:
        picture = plots.backing_chain(CHAINS["a deep chain"])
        written = [text.partition(": ")[2] for text in texts(picture)]
        assert {"o0", "o8"} & set(written) == set()
        assert {"9 files", "o9", "deep (vda)"} < set(written)
        assert picture.get_figwidth() * drawing.PER_INCH < 981
        assert all(f"o{number} " in picture.alt for number in range(10))

    @pytest.mark.parametrize("users", [(), ("web (vda)",)])
    @pytest.mark.parametrize("length", range(1, 8))
    def test_a_chain_is_never_wider_than_the_page(self, length: int, users: tuple[str]) -> None:
        links = [IMAGE, *(overlay(f"o{n}", f"/pool/o{n - 1}") for n in range(length))]
        links[1] = overlay("o0", IMAGE.path)
        links[-1] = replace(links[-1], users=users)
        picture = plots.backing_chain(links)
        assert picture.get_figwidth() * drawing.PER_INCH < 981
        written = " ".join(texts(picture))
        assert f"o{length - 1}" in written
        assert written.count("files") == (length + len(users) > 3)

    def test_a_bar_is_as_long_as_the_file_is_full(self) -> None:
        def bars(taken: int) -> list[float]:
            board = plots.backing_chain([Link("/pool/a", "raw", 1000, taken)]).board
            return [p.get_width() for p in board.patches if isinstance(p, Rectangle)]

        frame, empty = bars(0)
        assert empty == 0
        assert bars(500) == [frame, frame / 2]
        assert bars(2000) == [frame, frame]
        assert 0 < bars(1)[1] < frame / 100
