"""Unfinished caches: whose they are, and how a file that a killed process left is opened again.

An unfinished cache is written as HDF5's single writer, multiple readers (SWMR): the chunks of a
sample are in the file before anything refers to them, so that what can be found in the file is
whole at any moment. A process that is killed leaves two things in the superblock as no writer
would: marks that the file is being written, and an end of the file before its last chunks.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

_SUPERBLOCK: Final = 48  # bytes of version 3, with addresses of 8 bytes
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n\x03\x08\x08"
_MASK: Final = 0xFFFFFFFF


def lock(path: Path) -> int | None:
    """A descriptor that holds the lock of a file until it is closed; None if another process does.

    None, too, where the system has no such locks: nothing is known of an unfinished file there.
    """
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:  # not removed meanwhile
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def reopen(path: Path) -> None:
    """Take the marks of a killed writer from a file, as ``h5clear`` of the HDF5 tools does.

    HDF5 File Format Specification, version 3.0, section II.A.

    Raises:
        ValueError: it does not begin as a file of this kind does.
    """
    with path.open("r+b") as file:
        block = bytearray(file.read(_SUPERBLOCK))
        if len(block) < _SUPERBLOCK or not block.startswith(_SIGNATURE):
            raise ValueError(f"{path} is no HDF5 file of version 1.10")
        block[11] = 0
        struct.pack_into("<Q", block, 28, path.stat().st_size)
        struct.pack_into("<I", block, 44, checksum(bytes(block[:44])))
        file.seek(0)
        file.write(block)


def checksum(data: bytes) -> int:
    """Bob Jenkins's lookup3 of whole words of 32 bits, HDF5's checksum of a superblock.

    >>> hex(checksum(b"Four score and seven years ago. "))
    '0x0'
    """
    words = struct.unpack(f"<{len(data) // 4}I", data)
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    for k in range(0, len(words), 3):
        three = (*words[k : k + 3], 0, 0)
        a, b, c = (a + three[0]) & _MASK, (b + three[1]) & _MASK, (c + three[2]) & _MASK
        # After each step the three change names: it is written once for all of them.
        if k + 3 < len(words):
            for shift in (4, 6, 8, 16, 19, 4):
                a, b, c = b, (c + b) & _MASK, ((a - c) & _MASK) ^ _rotated(c, shift)
        else:
            for shift in (14, 11, 25, 16, 4, 14, 24):
                a, b, c = b, ((c ^ b) - _rotated(b, shift)) & _MASK, a
    return b


def _rotated(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & _MASK
