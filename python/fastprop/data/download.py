"""Files from the network, kept in a cache and checked."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fastprop.data.extras import load


def fetch(
    url: str,
    sha256: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    name: str | None = None,
    progress: bool = False,
) -> Path:
    """A file from the network; downloaded once, and checked whenever it is asked for.

    Args:
        url: Where it is, ``https://…``. The proxies of ``HTTP_PROXY``, ``HTTPS_PROXY`` and
            ``NO_PROXY`` are used.
        sha256: Its checksum, 64 hexadecimal digits (``sha256sum file`` prints it).
        folder: Where to keep it, in the place of a file of that name with another checksum; by
            default in ``fastprop`` in the user's cache folder, in a folder for each checksum: files
            of MNIST and of Fashion-MNIST have the same names.
        name: What to call it there; by default the last part of the URL.
        progress: Show a progress bar.

    Returns:
        The file's path.

    Raises:
        ImportError: pooch is not installed.
        ValueError: Another checksum: the file was changed, or the download was damaged (it is
            deleted then). An argument that is no URL or no checksum.
        OSError: It cannot be downloaded, or not written.
    """
    where = "fetch"
    pooch = load(where, "pooch", "data")
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"{where}: sha256 must be 64 hexadecimal digits, got {sha256!r}")
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(
            f"{where}: expects a URL that begins with https:// or http://, got {url!r}"
        )
    file = name or unquote(parts.path.rpartition("/")[2])
    if not file or Path(file).name != file or file in (".", ".."):
        raise ValueError(f"{where}: {file!r} is no name for a file; give name=…")
    digest = sha256.lower()
    own = Path(pooch.os_cache("fastprop")) / digest[:16]
    place = own if folder is None else Path(folder)
    try:
        found = pooch.retrieve(
            url, f"sha256:{digest}", fname=file, path=place, progressbar=progress
        )
    except ValueError as error:
        raise ValueError(f"{where}: {url}: {error}") from error
    except OSError as error:
        raise OSError(
            f"{where}: {url} cannot be had ({error}); look at the address, the connection, the "
            f"proxies in HTTP_PROXY and HTTPS_PROXY, and whether {place} can be written, or put "
            f"the file there by hand, as {file}"
        ) from error
    return Path(found)
