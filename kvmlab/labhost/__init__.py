"""The lab host: a private machine made of Linux namespaces, with its own libvirtd.

    folders       where its files are
    requirements  what this machine must offer, and what mends it
    acceleration  whether KVM can really run a Linux guest here
    supervisor    the first process of the lab host; it holds everything together
    rooms         the mounts and the network namespace it lives in
    daemon        its libvirtd: settings, default network and pool, save and resume
    jupyter       JupyterLab as a service of the lab host
    last_words    what its kernels begin with, so that no command's output is lost
    ports         ports of the machine outside, handed to processes inside
    client        the way in: start, join, run a command, leave
    commands      running a command for somebody
    desk          a learner's stay: JupyterLab from start to Ctrl-C
    scratch       a lab for tests and benchmarks, which leaves the learner's alone
    wire          the messages between client and supervisor

Nothing in here knows guests, networks or storage as the library does: the lab
host only starts and stops things, and the library works the same against any
other libvirt.
"""
