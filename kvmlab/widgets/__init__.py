"""Forms of the course: each a thin view of ipywidgets on a model that knows none of them.

vmm        chapter 1: two sliders, and the guest that adds them
create     chapter 2: a new guest by five choices
control    chapter 3: every guest, and what can be done with it
snapshots  chapter 6: a guest's snapshots: taking them, going back, forgetting them
storage    chapter 7: a guest's disks: making one, plugging it in, growing it, taking it out
form       what all forms have in common
"""
