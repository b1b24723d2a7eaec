#!/bin/sh
# First steps in the lab host's private network namespace, which is kept at $1.
set -e
mount --bind "/proc/$$/ns/net" "$1"
# /sys shows the interfaces of the namespace it was mounted in.
mount -t sysfs sysfs /sys
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
[ ! -e /proc/sys/net/ipv6/conf/all/forwarding ] || echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
# --daemon returns once libvirtd takes connections. Its words are read by programs too.
exec env LC_ALL=C libvirtd --daemon
