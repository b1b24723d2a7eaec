"""Storage pools, volumes, and the disks of guests.

pools        all pools of a lab; `pool`: one; `poolkinds`: what each kind needs
volumes      the volumes of a pool; `volume`: one; `contents`: in and out of it
secrets      the passphrases of encrypted ones
usage        who would break without a file; `owned`: what goes with a guest
disks        a guest's disks; `disk`: one (`diskhandle`: what its sides share); `plugging`
             and `drives`: in and out; `growing`: the file systems on it
chains       overlay, image, and so on; `blockjobs`, `copying`, `jobwatch`: under a running
             guest; `overlays` and `qemuimg`: while none runs
"""
