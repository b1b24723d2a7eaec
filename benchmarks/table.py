"""What came of the benchmarks: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich import box
from rich.table import Table

from benchmarks.pairs import Comparison
from kvmlab.labhost import acceleration

RESULTS = Path(__file__).with_name("results")


def table(comparisons: Iterable[Comparison], absent: dict[str, str]) -> Table:
    """Return the table: medians, the median of the pairs' ratios, their least and most.

    Args:
        comparisons: what was measured.
        absent: by question, why it was not.

    Example:
        >>> Console().print(table(comparisons, {}))
    """
    made = Table("question", box=box.SIMPLE)
    for heading in ("ours", "theirs", "ratio", "limit", "verdict"):
        made.add_column(heading, justify="right", no_wrap=True)
    for each in comparisons:
        if each.limit is None:
            verdict = "no limit"
        else:
            verdict = "[green]kept[/]" if each.is_within_limit else "[red]EXCEEDED[/]"
        made.add_row(
            f"{each.question}\n[dim]against {each.against}[/]",
            _seconds(median(each.ours_s)),
            _seconds(median(each.theirs_s)),
            f"[bold]{each.ratio:.2f}[/]\n[dim]{min(each.ratios):.2f} to {max(each.ratios):.2f}[/]",
            f"{each.limit:g}" if each.limit else "",
            verdict,
        )
    for name, reason in absent.items():
        made.add_row(f"{name}\n[dim]{reason}[/]", "", "", "", "", "[red]no answer[/]")
    return made


def save(comparisons: Iterable[Comparison]) -> Path:
    """Write all times and the machine they were measured on; return the file.

    Example:
        >>> save(comparisons).suffix
        '.json'
    """
    now = datetime.now(UTC)
    verdict = acceleration.cached()
    report = {
        "time": now.isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "acceleration": verdict and verdict.kind,
            "load": os.getloadavg()[0],
        },
        "comparisons": [
            asdict(each)
            | {
                "ratio": each.ratio,
                "ratio_min": min(each.ratios),
                "ratio_max": max(each.ratios),
                "within_limit": each.is_within_limit,
            }
            for each in comparisons
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    return path


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"
