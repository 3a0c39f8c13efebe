"""The line of the user's code that led into this package, for messages."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def user_line() -> str:
    """The innermost line outside of this package, ``file:number in function: text``."""
    import linecache  # wanted for an error only

    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    path, number, function = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
    text = linecache.getline(path, number).strip()
    where = f"{os.path.basename(path)}:{number}"
    where += f" in {function}" if function != "<module>" else ""
    return f"{where}: {text}" if text else where
