"""Errors that a user can act on.

Every message names the file or key, the value found and the remedy. The commands print the
message alone, without a traceback; any other exception is a defect of this package.
"""

from __future__ import annotations

import errno
import os

#: what a system says of a place where nothing can be written
_NO_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR),
    errno.ENAMETOOLONG,
)


class JRNError(Exception):
    """A mistake in what the user gave: configuration, file or command line."""


class ConfigError(JRNError):
    """A configuration value that cannot be used."""


class CacheError(JRNError):
    """A prediction cache, or a source of one, that cannot be read or breaks the format."""


class CheckpointError(JRNError):
    """A checkpoint that cannot be read, or belongs to another network."""


class RecordError(JRNError):
    """A job record that is damaged, foreign, or belongs to another configuration."""


def no_place(error: OSError) -> str | None:
    """What to tell of a folder without permission or space; None for any other error."""
    if error.errno not in _NO_PLACE or error.errno is None:
        return None
    temporary = os.environ.get("TMPDIR", "/tmp")
    where = error.filename or f"the output, or the temporary folder {temporary} (TMPDIR),"
    return (
        f"{where} cannot be used ({os.strerror(error.errno)}). Choose a folder that may be "
        "written to, on a disk with space."
    )
