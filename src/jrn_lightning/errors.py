"""Errors that a user can act on.

Every message names the file or key, the value found and the remedy. The commands print the
message alone, without a traceback; any other exception is a defect of this package.
"""

from __future__ import annotations


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
