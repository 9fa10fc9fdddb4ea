"""The tutorial, followed word for word in a copy of the project.

What stands in fences on docs/app/add-a-step.md is done in the page's order. A `diff` is applied, a `python` block
becomes the file that the words before it name, an `sh` block is run. The `text` after it is what it prints; it fails
where that text has an error of pytest's (`E`), and nowhere else. The page may leave out lines, and parts of a line as
`…`. Commands that stand indented are not run: they need a cloud, or minutes.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import venv
from itertools import zip_longest
from pathlib import Path

import pytest

from components.functions import ACCESS
from hourbank.names import ROOT
from tests.helpers.pages import Block, blocks

PAGE = ROOT / "docs" / "app" / "add-a-step.md"


class Reader:
    """Somebody with a clone of the project and its environment, who does what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in self._tracked():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        self._make_environment()
        self._env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUTF8": "1"}
        reader = "-c user.name=Reader -c user.email=reader@example.org"
        succeeded, told = self.run(f"git init --quiet -b main && git add --all && git {reader} commit --quiet -m clone")
        assert succeeded, told

    @staticmethod
    def _tracked() -> list[str]:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]

    def _make_environment(self) -> None:
        """Make what `make .venv` would: an environment whose packages are here, whose project is the copy."""
        made = self.folder / ".venv"
        venv.create(made, symlinks=True)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(made)}))
        (packages / "here.pth").write_text(f"{self.folder}\n{sysconfig.get_path('purelib')}\n")
        for command, package in {"hourbank": "hourbank.cli", "pytest": "pytest"}.items():
            script = made / "bin" / command
            script.write_text(
                f"#!{made}/bin/python\nimport sys\nfrom {package} import main\n"
                'if __name__ == "__main__":\n    sys.exit(main())\n'
            )
            script.chmod(0o755)
        (made / ".locked").touch()

    def run(self, command: str, given: str = "") -> tuple[bool, str]:
        """Run a command in a shell; return whether it succeeded, and all that it prints."""
        done = subprocess.run(
            ["sh", "-ec", command],
            check=False,
            cwd=self.folder,
            env=self._env,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode == 0, done.stdout

    def follow(self, block: Block) -> tuple[bool, str]:
        """Do what a block says; return whether that succeeded, and what it prints."""
        if block.kind == "diff":
            return self.run("git apply -", block.text)
        if block.kind == "python":
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
            return True, ""
        return self.run(block.text)


def missing(shown: str, printed: str) -> str:
    """Return the first line that a page shows and a command does not print after the ones before; none: nothing."""
    lines = iter(line.rstrip() for line in printed.splitlines())
    for line in shown.splitlines():
        pattern = re.compile(".*".join(map(re.escape, line.rstrip().split("…"))))
        if not any(pattern.fullmatch(one) for one in lines):
            return line
    return ""


@pytest.mark.thorough
@pytest.mark.skipif("checkProvider" in ACCESS, reason="somebody has followed the tutorial here: nothing is left to add")
def test_the_tutorial_is_true_word_for_word(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    page = list(blocks(PAGE.read_text(encoding="utf-8")))
    for block, following in zip_longest(page, page[1:]):
        if block.kind == "text":
            continue
        shown = following.text if following and following.kind == "text" else ""
        succeeded, printed = reader.follow(block)
        assert succeeded != bool(re.search("^E  ", shown, re.MULTILINE)), f"{block.text}\n{printed}"
        line = missing(shown, printed)
        assert not line, f"the page shows {line!r} of what was printed:\n{printed}"


def test_every_fence_of_the_tutorial_is_followed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    followed = list(blocks(page))
    assert len(followed) == len(re.findall("^```", page, re.MULTILINE)) / 2
    assert {block.kind for block in followed} == {"diff", "python", "sh", "text"}
    assert [block.file for block in followed if block.kind == "python"] == ["handlers/check_provider.py"]


@pytest.mark.parametrize(
    ("shown", "first_missing"),
    [
        ("one\nthree …", ""),
        ("… 2\n", ""),
        ("three", "three"),
        ("three …\none", "one"),
        ("one\none", "one"),
    ],
)
def test_what_a_page_shows_and_nobody_prints_is_found(shown: str, first_missing: str) -> None:
    assert missing(shown, "one\ntwo 2\nthree 3  \n") == first_missing
