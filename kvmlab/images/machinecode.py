"""Small programs for the bare processor, written as bytes beside the assembler they are."""

from __future__ import annotations

from collections.abc import Sequence

Program = Sequence[tuple[str, str, str]]
"""The bytes in hex, the instruction, what it is for.

Jumps are relative to the next instruction; numbers have their low byte first.
"""


def assembled(program: Program) -> bytes:
    """Return a program's bytes.

    Example:
        >>> assembled([("fa", "cli", "no interrupts"), ("f4", "hlt", "sleep")]).hex()
        'faf4'
    """
    return b"".join(bytes.fromhex(octets) for octets, _, _ in program)


def listing(program: Program, address: int) -> str:
    """Return a program as an assembler lists it: address, bytes, instruction, comment.

    Args:
        program: what to list.
        address: where in memory its first byte is.
    """
    lines = []
    for octets, instruction, comment in program:
        line = f"{address:04x}  {octets:<18} {instruction:<20}"
        lines.append(f"{line} ; {comment}" if comment else line.rstrip())
        address += len(bytes.fromhex(octets))
    return "\n".join(lines)
