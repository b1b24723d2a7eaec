"""What things may be called, and how large they may be."""

from __future__ import annotations

import pytest

from kvmlab import errors
from kvmlab.limits import bytes_of_gib


@pytest.mark.parametrize(
    ("size_gib", "size"), [(1, 2**30), (0.5, 2**29), (1e-12, 4096), (4097 / 2**30, 8192)]
)
def test_a_size_is_of_whole_sectors_and_one_at_least(size_gib: float, size: int) -> None:
    assert bytes_of_gib("size_gib", size_gib) == size


@pytest.mark.parametrize("size_gib", [0, -1, float("nan"), float("inf"), 10**400, True, "5", None])
def test_what_is_no_size_is_refused(size_gib: float) -> None:
    with pytest.raises(errors.InvalidArgument, match="size_gib"):
        bytes_of_gib("size_gib", size_gib)
