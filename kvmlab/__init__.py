"""kvmlab: learn KVM, QEMU and libvirt on real guests."""
