"""Guests: what libvirt calls domains.

guests       all guests of a lab; `guest`: one, put together from its sides:
             lifecycle, definition, resources, agent (from within), console, screen,
             connections
wish         what a guest shall be; `creation`: the plan of all there is to make, and the
             making; `backing`: its image in the storage pool
cloudinit    what a ready-made image is told at its first boot; `seed`: the CD for it
installation an operating system from its CD, unattended
virtinstall  the commands that define the same guest
belongings   which files go with a guest; `metrics`: what it uses; `transitions`: what it
             goes through
"""
