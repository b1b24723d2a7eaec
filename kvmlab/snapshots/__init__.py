"""A guest's snapshots.

snapshots    all of a guest; `snapshot`: one; `facts`: what it tells; `tree`: how they stand
             to each other
plan         what can be taken, and how
revert, delete, steps, books, files, xml
             external ones by hand, step by step, where libvirt itself can't
"""
