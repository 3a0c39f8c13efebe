"""NumPy and IDX files, and downloads."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.training import network, regression, weights_of

import fastprop as fp
from fastprop import data

# -- npz -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save) -> None:
    x, y = regression(50)
    weight = np.ones(50)
    path = tmp_path / "set.npz"
    save(path, x=x, y=y, a=x[:, :1], w=weight)
    found = data.from_npz(path)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.y, y)
    several = data.from_npz(path, ("x", "a"), "y", "w")
    np.testing.assert_array_equal(several.x[1], x[:, :1])
    np.testing.assert_array_equal(several.sample_weight, weight)
    assert data.from_npz(path, y=None).y is None
    with pytest.raises(ValueError, match=r"no array 'x_train'\. There are: 'x', 'y', 'a', 'w'"):
        data.from_npz(path, "x_train")


def test_npz_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x=np.arange(1000.0), y=np.arange(1000))
    whole = path.read_bytes()
    for content in (b"", b"PK\x03\x04", b"something else", whole[:300]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"set\.npz is no .npz file, or a damaged"):
            data.from_npz(path)
    bent = bytearray(whole)
    bent[200:210] = b"0123456789"
    path.write_bytes(bytes(bent))
    with pytest.raises(ValueError, match="array 'x' is damaged"):
        data.from_npz(path)
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(ValueError, match="holds a single array"):
        data.from_npz(tmp_path / "x.npy")
    np.savez(path, x=np.array([{}, {}], object), y=np.ones(2), t=np.array(["a", "b"]))
    with pytest.raises(TypeError, match="array 'x' holds pickled objects"):
        data.from_npz(path)
    with pytest.raises(TypeError, match="encode text"):
        data.from_npz(path, "t")
    with pytest.raises(FileNotFoundError, match="no file"):
        data.from_npz(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        data.from_npz(tmp_path)


# -- IDX -------------------------------------------------------------------------------------------

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(path: Path, array: np.ndarray, dtype: str = "u1") -> Path:
    head = bytes([0, 0, CODES[dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(5,), (3, 4), (7, 2, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx(tmp_path: Path, dtype: str, shape: tuple[int, ...], ending: str) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    found = data.from_idx(idx(tmp_path / f"images{ending}", array, dtype))
    np.testing.assert_array_equal(found.x, array)
    assert found.x.dtype == np.dtype(dtype)
    assert found.y is None


def test_training_on_idx_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (120, 28, 28))
    labels = images[:, 0, 0] // 86
    dataset = data.from_idx(idx(tmp_path / "images", images), idx(tmp_path / "labels.gz", labels))
    assert dataset.x.shape == (120, 28, 28)

    def prepare(x, y):
        return x.reshape(len(x), -1) / np.float32(255), y

    plain = (images.reshape(120, -1) / np.float32(255), labels)
    found = []
    for given in ((dataset.map(prepare),), (dataset.stream().map(prepare),), plain):
        model = network(784, 8, 3)
        fp.Trainer(model, "cross_entropy", "adam").fit(*given, epochs=2)
        found.append(weights_of(model))
    assert found[0] == found[1] == found[2]


def test_idx_files_that_do_not_belong_together(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "images", np.ones((3, 4, 4))), idx(tmp_path / "y", np.ones(3))
    few = idx(tmp_path / "few", np.ones(2))
    with pytest.raises(ValueError, match=r"from_idx: .*images has 3 rows, .*few has 2"):
        data.from_idx(images, few)
    with pytest.raises(ValueError, match=r"a row of .*images has shape \(4, 4\).*wrong way round"):
        data.from_idx(labels, images)


def test_idx_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "images"
    idx(path, np.ones((3, 4)))
    whole = path.read_bytes()
    for content, message in [
        (b"", "begins with nothing"),
        (b"\x89PNG\r\n", "begins with 89 50 4e 47; an IDX file begins with 00 00"),
        (whole[:1] + b"\x01" + whole[2:], "begins with 00 01"),
        (whole[:2] + b"\x0a" + whole[3:], "begins with 00 00 0a"),
        (whole[:3], "begins with 00 00 08"),
        (whole[:9], "cut short within its 2 extents"),
        (whole[:-1], "is cut short: uint8 .3, 4. are 12 bytes, and there are 11"),
        (whole + b"\0", "is too long"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "is cut short"),
        (gzip.compress(whole)[:-9], "gzip file, is damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"from_idx: .*images.*{message}"):
            data.from_idx(path)
    with pytest.raises(ValueError, match="is empty"):
        data.from_idx(idx(path, np.ones((0, 4))))


def test_a_small_file_that_holds_more_than_it_says(tmp_path: Path) -> None:
    """It is read no further than its header says, and no memory is taken for what that claims."""
    import tracemalloc

    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"abc")
        for _ in range(40):
            file.write(bytes(1 << 20))
    huge = tmp_path / "huge.gz"
    huge.write_bytes(gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, *[2**31] * 3) + b"abc"))
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"too long: uint8 \(3,\) are 3 bytes, .* at least \d+$"
        ):
            data.from_idx(path)
        with pytest.raises(ValueError, match=r"huge.gz is cut short"):
            data.from_idx(huge)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# -- downloads -------------------------------------------------------------------------------------

CONTENT = b"some data\n" * 100
OTHER = b"other data\n" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """A server on this machine, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                content = OTHER if "other/" in self.path else CONTENT
                found = ".csv" in self.path
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(content) if found else 0))
                self.end_headers()
                self.wfile.write(content if found else b"")

            def log_message(self, *arguments) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pooch = pytest.importorskip("pooch")
    pooch.get_logger().setLevel("WARNING")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    made = Server()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def test_fetch_downloads_once(server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/folder/t.csv?version=1"
    path = data.fetch(url, DIGEST, folder=tmp_path)
    assert path == tmp_path / "t.csv"
    assert path.read_bytes() == CONTENT
    assert data.fetch(url, DIGEST.upper(), folder=tmp_path) == path
    assert server.asked == ["/folder/t.csv?version=1"]
    named = data.fetch(url, DIGEST, folder=tmp_path, name="other.csv")
    assert named.name == "other.csv"
    path.write_bytes(b"changed")  # it is noticed, and loaded anew
    assert data.fetch(url, DIGEST, folder=tmp_path).read_bytes() == CONTENT


def test_fetch_keeps_files_of_one_name_apart(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of MNIST and Fashion-MNIST."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    first = data.fetch(f"{server.url}/t.csv", DIGEST)
    second = data.fetch(f"{server.url}/other/t.csv", hashlib.sha256(OTHER).hexdigest())
    assert first.name == second.name == "t.csv"
    assert (first.read_bytes(), second.read_bytes()) == (CONTENT, OTHER)
    assert data.fetch(f"{server.url}/t.csv", DIGEST) == first
    assert server.asked == ["/t.csv", "/other/t.csv"]


def test_fetch_goes_through_the_proxy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    data.fetch("http://data.example/t.csv", DIGEST, folder=tmp_path)
    assert server.asked == ["http://data.example/t.csv"]


def test_fetch_refuses_other_content(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fetch: http.*hash"):
        data.fetch(f"{server.url}/t.csv", "0" * 64, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"fetch: http.*/none cannot be had \(404 .*by hand, as none"):
        data.fetch(f"{server.url}/none", DIGEST, folder=tmp_path)
    nobody = "http://127.0.0.1:9/t.csv"  # a port where nobody listens
    with pytest.raises(OSError, match=r"fetch: http://127.0.0.1:9/t.csv cannot be had"):
        data.fetch(nobody, DIGEST, folder=tmp_path)
    (tmp_path / "t.csv").write_bytes(CONTENT)  # by hand
    assert data.fetch(nobody, DIGEST, folder=tmp_path).read_bytes() == CONTENT


def test_fetch_arguments_that_are_wrong() -> None:
    pytest.importorskip("pooch")
    for digest in ("", "abc", "g" * 64, None, "sha256:" + DIGEST):
        with pytest.raises(ValueError, match="sha256 must be 64 hexadecimal digits"):
            data.fetch("https://data.example/t.csv", digest)
    for url in ("t.csv", "file:///t.csv", "ftp://data.example/t.csv", "https:///t.csv"):
        with pytest.raises(ValueError, match="expects a URL"):
            data.fetch(url, DIGEST)
    for url, name in [
        ("https://data.example/", None),
        ("https://data.example/t.csv", "../t.csv"),
        ("https://data.example/..%2Ft.csv", None),
        ("https://data.example/..", None),
    ]:
        with pytest.raises(ValueError, match="is no name for a file"):
            data.fetch(url, DIGEST, name=name)


def test_packages_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.csv", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,2\n")
    wanted = r"needs pyarrow, which is not installed: pip install 'fastprop-nn\[table\]'"
    for read in (data.from_csv, data.from_parquet):
        with pytest.raises(ImportError, match=wanted):
            read(path, "y")
    with pytest.raises(ImportError, match=wanted):
        data.from_arrow(None)
    with pytest.raises(ImportError, match=r"fetch needs pooch.*'fastprop-nn\[data\]'"):
        data.fetch("https://data.example/t.csv", DIGEST)
