"""What the documentation shows runs: the Python blocks of every page, and the examples."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANCHOR = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _blocks(page: Path) -> list[tuple[int, str]]:
    """Line number and text of every block."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(1)) + 1, m[1]) for m in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", [p for p in PAGES if _blocks(p)], ids=_name)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after the other and share their names."""
    monkeypatch.chdir(tmp_path)
    if "import pyarrow" in page.read_text(encoding="utf-8"):
        pytest.importorskip("pyarrow")
    names: dict[str, object] = {"__name__": "__page__"}
    for line, text in _blocks(page):
        # Blank lines before it, so that a traceback names the line of the page.
        code = compile("\n" * (line - 1) + text, str(page), "exec", dont_inherit=True)
        exec(code, names)


@pytest.mark.parametrize("example", EXAMPLES, ids=_name)
def test_examples_run(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(example)])
    for package in ("sklearn", "matplotlib"):
        if re.search(
            rf"^(?:from|import) {package}\b", example.read_text(encoding="utf-8"), re.MULTILINE
        ):
            pytest.importorskip(package)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{_name(page)} links to {target}"


def _anchors(page: Path) -> set[str]:
    """What headings are called in links, by the rules of code hosts."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_headings(page: Path) -> None:
    for target, anchor in ANCHOR.findall(page.read_text(encoding="utf-8")):
        to = page.parent / target if target else page
        assert anchor in _anchors(to), f"{_name(page)} links to {target}#{anchor}"


def test_the_table_of_derivatives_is_that_of_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["generate_derivative_table.py", "--check"])
    with pytest.raises(SystemExit) as result:
        runpy.run_path(str(ROOT / "docs/generate_derivative_table.py"), run_name="__main__")
    assert result.value.code == 0, "run python docs/generate_derivative_table.py"


def test_there_is_something_to_test() -> None:
    assert len(_blocks(ROOT / "README.md")) >= 3
    assert len(EXAMPLES) >= 3
