"""Pictures of how virtualization works, drawn with matplotlib.

Each function returns a `kvmlab.plots.drawing.Picture`, a matplotlib ``Figure`` that a notebook
shows as it is. They draw plain data; one that is given a lab or a guest reads it.
"""

from __future__ import annotations

from kvmlab.lab import Lab
from kvmlab.networks.topology import Topology, read_topology
from kvmlab.plots.chains import backing_chain
from kvmlab.plots.drawing import (
    GUEST,
    HARDWARE,
    KERNEL,
    MUTED,
    NAME,
    PROCESS,
    SYSTEM,
    TOOL,
    Picture,
    arrow,
    block,
    box,
    words,
)
from kvmlab.plots.networkmap import draw_network_map
from kvmlab.plots.snapshots import snapshot_tree
from kvmlab.plots.statechart import guest_states

__all__ = [
    "backing_chain",
    "guest_states",
    "hypervisor_types",
    "network_map",
    "snapshot_tree",
    "stack",
]


def network_map(there: Lab | Topology) -> Picture:
    """Draw the networks of a lab: the host, its bridges, and who is plugged in where.

    Args:
        there: the lab; or what `kvmlab.networks.topology.read_topology` has read, or you made up.

    Raises:
        KvmlabError: libvirt can't be asked.

    Example:
        >>> network_map(lab).alt
        'A map of the networks of host kvmlab. default (192.168.122.0/24) is nat: ...'
    """
    return draw_network_map(there if isinstance(there, Topology) else read_topology(there))


def hypervisor_types() -> Picture:
    """Draw hypervisors of type 1 and type 2, and KVM beside them.

    Source: R. P. Goldberg, "Architectural Principles for Virtual Computer Systems",
    PhD thesis, Harvard University, 1973 (AD-772 809).

    Example:
        >>> hypervisor_types().get_figwidth()
        9.8
    """
    picture = Picture(
        980,
        424,
        alt="Three towers of layers. Type 1: guests on a hypervisor on the hardware. Type 2: "
        "guests on a hypervisor, which is a program beside others on an operating system on "
        "the hardware. KVM: guests in QEMU processes, beside other programs, on a Linux kernel "
        "that has KVM in it, on the hardware.",
    )
    board = picture.board
    for left, title, subtitle in (
        (30, "Type 1", "native: the hypervisor has the hardware"),
        (345, "Type 2", "hosted: an operating system has it"),
        (660, "KVM", "the system's kernel is the hypervisor"),
    ):
        words(board, left + 145, 384, title, size=15, weight="bold")
        words(board, left + 145, 362, subtitle, color=MUTED)
        block(board, left, 26, 290, 44, "Hardware", HARDWARE)
    # Type 1
    block(board, 30, 80, 290, 62, "Hypervisor", KERNEL, "Xen, VMware ESXi, Hyper-V")
    for left in (30, 179):
        block(board, left, 152, 141, 192, "Guest", GUEST, "its own kernel\nand programs")
    # Type 2
    block(board, 345, 80, 290, 62, "Operating system", SYSTEM, "Linux, Windows, macOS")
    block(board, 345, 152, 192, 62, "Hypervisor", KERNEL, "VirtualBox, for example")
    block(board, 545, 152, 90, 192, "Other", PROCESS, "programs")
    for left in (345, 445):
        block(board, left, 224, 92, 120, "Guest", GUEST, "its own\nkernel and\nprograms")
    # KVM
    box(board, 660, 80, 290, 62, SYSTEM)
    words(board, 742, 105, "Linux kernel", size=NAME, weight="bold")
    block(board, 824, 87, 119, 48, "KVM", KERNEL, "a part of it")
    for left in (660, 760):
        box(board, left, 152, 92, 192, PROCESS)
        words(board, left + 46, 181, "a QEMU\nprocess")
        block(board, left + 8, 206, 76, 130, "Guest", GUEST, "its own\nkernel and\nprograms")
    block(board, 860, 152, 90, 192, "Other", PROCESS, "programs")
    return picture


def stack() -> Picture:
    """Draw who does what: the tools, libvirt, QEMU, KVM and the processor.

    Sources: https://libvirt.org/drvqemu.html,
    https://www.qemu.org/docs/master/system/introduction.html,
    https://docs.kernel.org/virt/kvm/api.html.

    Example:
        >>> stack().get_figwidth()
        9.8
    """
    picture = Picture(
        980,
        630,
        alt="From top to bottom: virsh, virt-manager and kvmlab call libvirt. libvirt, a daemon, "
        "starts one QEMU process for each guest and talks to it over QMP. In a QEMU process live "
        "the guest and its devices, made in software. QEMU asks KVM, a part of the Linux kernel, "
        "to run the guest's instructions, and KVM lets the processor run them in guest mode. "
        "Without KVM, TCG inside QEMU translates the instructions instead.",
    )
    board = picture.board
    for baseline, who, what in (
        (586, "Tools", "say what is wanted: this guest, this much\nmemory, this disk; on or off"),
        (478, "libvirt", "keeps definitions (XML), networks and\nstorage; starts and stops guests"),
        (
            374,
            "QEMU",
            "is the machine around the processor: disks,\n"
            "network cards, screen, firmware. An ordinary\nprocess, one for each guest",
        ),
        (268, "TCG", "is the part of QEMU that, without KVM,\ntranslates the guest's instructions"),
        (136, "KVM", "lets the real processor run the guest's\ninstructions until one needs help"),
        (58, "Processor", "has a guest mode for this: Intel's VT-x\n(vmx) or AMD's AMD-V (svm)"),
    ):
        words(board, 652, baseline, who, size=NAME, weight="bold", ha="left")
        words(board, 652, baseline - 18, what, color=MUTED, ha="left")
    for left, name in ((30, "virsh"), (227, "virt-manager"), (424, "kvmlab")):
        block(board, left, 556, 186, 44, name, TOOL)
        arrow(board, (left + 93, 554), (left + 93, 500))
    words(board, 418, 523, "the libvirt API", color=MUTED)
    block(board, 30, 446, 580, 52, "libvirt", TOOL, "a daemon: libvirtd, or virtqemud")
    for left in (30, 330):
        arrow(board, (left + 140, 444), (left + 140, 392))
        box(board, left, 200, 280, 190, PROCESS)
        words(board, left + 140, 367, "a QEMU process", size=NAME, weight="bold")
        block(board, left + 12, 212, 124, 142, "Guest", GUEST, "its own kernel\nand programs")
        block(board, left + 144, 288, 124, 66, "Devices", SYSTEM, "made in software")
        block(board, left + 144, 212, 124, 66, "TCG", SYSTEM, "used without KVM", dashed=True)
        arrow(board, (left + 74, 198), (left + 74, 154), both=True)
    words(board, 320, 413, "starts it, talks to it over QMP", color=MUTED)
    words(board, 254, 173, "through /dev/kvm", color=MUTED)
    box(board, 30, 100, 580, 52, SYSTEM)
    words(board, 500, 120, "Linux kernel", size=NAME, weight="bold")
    block(board, 38, 106, 380, 40, "KVM", KERNEL)
    arrow(board, (228, 98), (228, 70), both=True)
    block(board, 30, 26, 580, 42, "Processor", HARDWARE)
    return picture
