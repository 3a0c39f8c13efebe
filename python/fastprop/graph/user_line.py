"""The line of the user's code that led into this package, for messages."""

from __future__ import annotations

import os
import sys
from types import CodeType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def user_line() -> str:
    """The innermost line outside of this package, ``file:number in function: text``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return _described(frame.f_code, frame.f_lineno)


def line_of(error: BaseException) -> str:
    """The line outside of this package from which an exception came, likewise."""
    place, at = error.__traceback__, None
    while place is not None:
        if at is None or not place.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            at = place
        place = place.tb_next
    return "" if at is None else _described(at.tb_frame.f_code, at.tb_lineno)


def _described(code: CodeType, number: int) -> str:
    import linecache  # wanted for an error only

    path, function = code.co_filename, code.co_name
    text = linecache.getline(path, number).strip()
    where = f"{os.path.basename(path)}:{number}"
    where += f" in {function}" if function != "<module>" else ""
    return f"{where}: {text}" if text else where
