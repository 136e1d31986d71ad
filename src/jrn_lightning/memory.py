"""Freed memory kept for the next tensor.

glibc gives large blocks back to the system when they are freed. A network's maps are large, of a
few sizes, and needed again in the next step: the system hands out fresh pages, zeroes them and
counts a fault for each. On some machines that takes as long as the network's arithmetic.
"""

from __future__ import annotations

import ctypes
from typing import Final

# Of malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_MMAP_MAX_DEFAULT: Final = 65536
_MMAP_THRESHOLD: Final = -3
_MMAP_THRESHOLD_MAX: Final = 32 << 20


def keep_freed_memory(keep: bool = True) -> bool:
    """Have this process keep the memory that it frees, as high as it ever was; or no longer.

    Results do not depend on it. What is kept is used again by this process alone.

    Args:
        keep: False for glibc's own way, as it is after a large block has been freed.

    Returns:
        Whether the C library understands: glibc's does, others are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    if keep:
        # From the heap whatever their size, and the heap never shrinks.
        told = [mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1)]
    else:
        told = [
            mallopt(_MMAP_MAX, _MMAP_MAX_DEFAULT),
            mallopt(_MMAP_THRESHOLD, _MMAP_THRESHOLD_MAX),
            mallopt(_TRIM_THRESHOLD, 2 * _MMAP_THRESHOLD_MAX),
        ]
    return all(told)
