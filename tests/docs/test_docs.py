"""What the documentation says about the code is so."""

import re

from hourbank.names import ROOT
from tools import configuration


def test_the_page_about_configuration_is_what_the_program_declares() -> None:
    shown = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert shown == configuration.page(), "docs/configuration.md is out of date: run `make docs`"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_every_page_is_on_the_map() -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    pages = {page for page in pages if not page.startswith(("adr/0", "pictures/"))} - {"README.md"}
    assert linked >= pages, f"docs/README.md does not lead to {', '.join(sorted(pages - linked))}"


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
