"""What the documents say of each other and of files is so, and README can be read in one go."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NAMES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")
DOCUMENTS = sorted(
    path
    for folder in (".", "ovsdriver", "ipam", "ansible", "tests")
    for path in (REPOSITORY / folder).glob("*.md")
    if path.name in NAMES
)

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text_of(path: Path) -> str:
    """Return a document without what is fenced."""
    return _FENCED.sub("", path.read_text("utf-8"))


def headings(path: Path) -> set[str]:
    """Return the names by which a document's headings are linked to."""
    found = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}


def links() -> Iterator[tuple[Path, str]]:
    """Yield all links of all documents that do not lead elsewhere."""
    for path in DOCUMENTS:
        yield from (
            (path, link) for link in _LINK.findall(text_of(path)) if not link.startswith("http")
        )


@pytest.mark.parametrize(
    ("document", "link"),
    sorted({*links()}),
    ids=lambda each: str(each).removeprefix(f"{REPOSITORY}/"),
)
def test_a_link_leads_to_a_file_or_heading_that_is_there(document: Path, link: str) -> None:
    name, _, heading = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    assert target.exists()
    assert not heading or heading in headings(target)


def test_each_folder_with_a_subject_has_its_document() -> None:
    folders = {path.parent for path in DOCUMENTS if path.name == "README.md"}
    named = {
        (REPOSITORY / name).resolve() for name in (".", "ovsdriver", "ipam", "ansible", "tests")
    }
    assert folders == named


def test_readme_has_at_most_250_lines_and_opens_with_the_two_commands() -> None:
    lines = (REPOSITORY / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 250
    assert [line.split()[0] for line in lines[5:7]] == ["ansible/lab", "tests/run"]


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "tests/README.md"])
def test_a_map_names_files_and_folders_that_are_there(document: str) -> None:
    roots = [REPOSITORY / name for name in ("ovsdriver", "ipam", "tests", "ansible")]
    there = {
        f"/{path.relative_to(REPOSITORY).as_posix()}{'/' if path.is_dir() else ''}"
        for root in roots
        for path in (root, *root.rglob("*"))
        if "__pycache__" not in path.parts
    }
    text = text_of(REPOSITORY / document)
    named = re.findall(r"`([\w./-]+(?:\.py|\.yml|/))`", text)
    assert named
    assert [name for name in named if not any(each.endswith(f"/{name}") for each in there)] == []
