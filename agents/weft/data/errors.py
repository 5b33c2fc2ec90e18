"""What can go wrong with source, output and exports, as the runtime sees it."""

from __future__ import annotations


class OutputError(Exception):
    """The output cannot be used. The text is one line for the user."""


class Superseded(Exception):
    """Another writer has claimed the partition: stop. What is committed, that one knows of."""


class SourceError(Exception):
    """The source as a whole cannot be used. The text is one line for the user."""


class ExportError(Exception):
    """The export cannot be made. The text is one line for the user."""
