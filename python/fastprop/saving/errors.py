"""What can be wrong with a file."""

from __future__ import annotations


class SavedFileError(ValueError):
    """A file is damaged, of another kind, or lacks what is needed to make an object of it."""
