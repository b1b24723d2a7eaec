"""What the library adds to asking libvirt for the state of fifty guests.

The same libvirt calls in the same process over the same kind of connection, without
kvmlab around them. It shows that a screenful of state is one call, and that the
library's words and handles cost little beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import libvirt

from benchmarks.guests import PREFIX, lab_for_guests
from benchmarks.pairs import Comparison, Step, timed
from kvmlab.guests import metrics

GUESTS = 50
LIMIT = 1.5


def answer(pairs: int, step: Step) -> list[Comparison]:
    """Measure ``pairs`` times each."""
    with lab_for_guests() as lab:
        for number in range(GUESTS):
            lab.guests.create(f"{PREFIX}{number}", memory_mib=16, networks=[])
        raw = lab.connection

        def states() -> object:
            records = raw.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            return {domain.name(): found["state.state"] for domain, found in records}

        def handles() -> object:
            return {name: guest.state for name, guest in lab.guests.items()}

        def domains() -> object:
            return {domain.name(): domain.state()[0] for domain in raw.listAllDomains()}

        def stats() -> object:
            return {domain.name(): it for domain, it in raw.getAllDomainStats(metrics.GROUPS)}

        def compare(
            question: str, against: str, ours: Callable[[], object], theirs: Callable[[], object]
        ) -> Comparison:
            comparison = Comparison(f"{GUESTS} guests: {question}", against, LIMIT)
            ours(), theirs()
            return comparison.measure(lambda: timed(ours), lambda: timed(theirs), pairs, step)

        return [
            compare("lab.guests.states()", "getAllDomainStats", lab.guests.states, states),
            compare("guest.state, one by one", "virDomain.state", handles, domains),
            compare("lab.stats()", "getAllDomainStats", lab.stats, stats),
        ]
