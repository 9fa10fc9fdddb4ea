"""What `hourbank plan` finds in clones of every kind, of small repositories made for it.

Write one here for a clone in which a plan failed or said what is not so; tests/test_plan.py has what a plan says.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from hourbank import names
from hourbank.errors import HourBankError
from hourbank.review import clone, plan
from hourbank.review.versions import nothing, packages, read

NOBODY = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Repository:
    """A repository in a folder, and what a user types in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def new(cls, folder: Path) -> "Repository":
        folder.mkdir()
        made = cls(folder)
        made.git("init", "--quiet")
        made.git("symbolic-ref", "HEAD", "refs/heads/main")  # before git 2.28 there is no --initial-branch
        return made

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **NOBODY, "GIT_CONFIG_NOSYSTEM": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self, **files: str) -> str:
        """A commit of files, by path with `__` for a slash."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.git("rev-parse", "HEAD")

    def clone(self, folder: Path, *options: str) -> "Repository":
        subprocess.run(
            ["git", "clone", "--quiet", *options, self.folder.as_uri(), folder], check=True, capture_output=True
        )
        return Repository(folder)


def program(folder: str = "", name: str = "hourbank") -> dict[str, str]:
    """The least that is taken for the program."""
    return {
        f"{folder}Pulumi.yaml": f"name: {name}\n",
        f"{folder}__main__.py": "",
        f"{folder}components/__init__.py": "",
    }


@pytest.fixture
def origin(tmp_path: Path) -> Repository:
    """Two commits of main, of which a feature knows the first."""
    made = Repository.new(tmp_path / "origin")
    made.commit(**program())
    made.git("checkout", "--quiet", "-b", "feature")
    made.commit(**{"feature.py": "1"})
    made.git("checkout", "--quiet", "main")
    made.commit(**{"main.py": "1"})
    made.commit(**{"main.py": "2"})
    return made


def inside(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(names, "ROOT", folder)


def refusal(base: str, head: str | None = None) -> str:
    with pytest.raises(HourBankError) as caught:
        clone.find(base, head)
    line = str(caught.value)
    assert "\n" not in line
    return line


def obey(repository: Repository, line: str) -> None:
    """Do what a refusal says."""
    command = re.search(r"git (fetch .*?'.*?')", line)
    assert command, line
    repository.git(*shlex.split(command[1]))


@pytest.mark.parametrize(
    ("options", "base"),
    [
        (["--depth", "1", "--branch", "feature"], "origin/main"),
        (["--depth", "1", "--branch", "feature"], "main"),
        (["--depth", "1", "--no-single-branch", "--branch", "feature"], "origin/main"),
        (["--single-branch", "--branch", "feature"], "origin/main"),
        (["--depth", "1", "--branch", "feature"], "HEAD~1"),
    ],
)
def test_a_clone_of_a_part_says_a_command_after_which_it_works(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], base: str
) -> None:
    part = origin.clone(tmp_path / "part", *options)
    inside(monkeypatch, part.folder)
    line = refusal(base)
    obey(part, line)
    if then := re.search(r"then name it (\S+?),", line):
        base = then[1]
    assert clone.find(base, None).before == origin.git("rev-parse", "main~2")


def test_what_main_did_meanwhile_is_never_compared_where_history_is_cut(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = origin.clone(tmp_path / "part", "--depth", "1", "--branch", "feature")
    part.git("fetch", "--quiet", "--depth", "1", "origin", "main:refs/remotes/origin/main")
    inside(monkeypatch, part.folder)
    line = refusal("origin/main", "HEAD")
    assert line.startswith(
        "this clone is shallow, and has no commit that HEAD and origin/main have in common: git fetch"
    )


def test_histories_with_nothing_in_common_are_compared_and_it_is_said(
    origin: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.git("checkout", "--quiet", "--orphan", "other")
    origin.commit()
    inside(monkeypatch, origin.folder)
    found = clone.find("main", None)
    assert (found.before, found.have_common) == (origin.git("rev-parse", "main"), False)
    assert "no commit in common" in next(plan.remarks(found, "", ""))


def test_what_git_refuses_is_told_in_its_own_words(
    origin: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # what a container's job sees in a clone that another user made
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    inside(monkeypatch, origin.folder)
    line = refusal("main")
    assert line.startswith("git refuses: detected dubious ownership in repository at")
    assert line.endswith(f"git config --global --add safe.directory {origin.folder}")


def test_what_a_partial_clone_cannot_fetch_is_told_too(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.git("config", "uploadpack.allowFilter", "true")
    part = origin.clone(tmp_path / "part", "--filter=blob:none", "--branch", "feature")
    inside(monkeypatch, part.folder)
    assert clone.find("origin/main", None).before == origin.git("rev-parse", "main~2")
    base = clone.commit("origin/main")
    origin.folder.rename(tmp_path / "away")
    with pytest.raises(HourBankError, match=r"^git refuses: .*origin.* does not appear to be a git repo") as caught:
        clone.extract(base, "", tmp_path / "base")
    assert "\n" not in str(caught.value)


def test_in_a_worktree_and_in_a_hook_it_is_this_folders_repository(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "feature")
    inside(monkeypatch, tmp_path / "tree")
    base = origin.git("rev-parse", "main~2")
    monkeypatch.setenv("GIT_DIR", str(Repository.new(tmp_path / "of the hook").folder / ".git"))
    found = clone.find("main", None)
    assert found.before == base
    assert (clone.extract(found.before, "", tmp_path / "base") / "__main__.py").exists()


def test_a_link_that_leads_out_of_the_clone_is_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Repository.new(tmp_path / "made")
    (made.folder / "out").symlink_to("/etc/passwd")
    (made.folder / "in").symlink_to("__main__.py")
    commit = made.commit(**program())
    inside(monkeypatch, made.folder)
    unpacked = clone.extract(commit, "", tmp_path / "head")
    assert not (unpacked / "out").is_symlink() and (unpacked / "in").is_file()


def test_the_first_change_that_brings_the_folder_is_all_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Repository.new(tmp_path / "app")
    base = app.commit(README="x")
    head = app.commit(**program("infra/"))
    inside(monkeypatch, app.folder / "infra")
    assert (clone.place(base), clone.place(head)) == (None, "infra/")
    found = clone.find(base, None)
    assert list(plan.remarks(found, None, None)) == [f"`{base[:10]}` does not have this program: all of it is new."]
    assert (clone.extract(head, "infra/", tmp_path / "head") / "components" / "__init__.py").exists()
    assert nothing("abc", ["dev"]).stacks["dev"].resources == {}


def test_a_folder_that_moved_is_found_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Repository.new(tmp_path / "app")
    base = app.commit(**program("infra/"), **program("other/", "billing"))
    app.git("mv", "infra", "wörk flows")
    app.commit()
    inside(monkeypatch, app.folder / "wörk flows")
    assert clone.place(base) == "infra/"
    assert (clone.extract(base, "infra/", tmp_path / "base") / "__main__.py").exists()
    assert list(plan.remarks(clone.find(base, None), "infra/", None)) == [
        f"In `{base[:10]}` the program is in `infra/`."
    ]
    assert list(plan.remarks(clone.find("HEAD", "HEAD"), "wörk flows/", "wörk flows/")) == []


def test_of_two_programs_elsewhere_neither_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Repository.new(tmp_path / "app")
    base = app.commit(**program("one/"), **program("two/"))
    app.commit(**program("three/"))
    inside(monkeypatch, app.folder / "three")
    assert clone.place(base) is None


def test_a_head_without_the_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Repository.new(tmp_path / "app")
    base = app.commit(README="x")
    app.commit(**program("infra/"))
    inside(monkeypatch, app.folder / "infra")
    with pytest.raises(HourBankError, match=f"{base[:10]} does not have this program: name a head that has"):
        plan.plan("HEAD", base, "dev")


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("HEAD", "nothing is committed here yet: commit first"),
        ("main", "there is no commit main here: name another"),
        ("--help", "there is no commit --help here: name another"),
    ],
)
def test_where_nothing_is_committed_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, says: str
) -> None:
    inside(monkeypatch, Repository.new(tmp_path / "empty").folder)
    assert refusal(base) == says


def test_outside_of_a_repository_there_is_nothing_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside(monkeypatch, tmp_path)
    assert refusal("main") == f"{tmp_path} is not in a git repository: run this in a clone"


@pytest.mark.parametrize("lock", ["<<<<<<< HEAD\n", "[[package]]\n", "package = 3\n", b"\xff"])
def test_a_lock_that_cannot_be_read_is_a_line(tmp_path: Path, lock: str | bytes) -> None:
    (tmp_path / "uv.lock").write_bytes(lock if isinstance(lock, bytes) else lock.encode())
    with pytest.raises(HourBankError, match=r"^main cannot be recorded: uv.lock cannot be read \(") as caught:
        packages("main", tmp_path / "uv.lock")
    assert "\n" not in str(caught.value)
    assert packages("main", tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("import os\nos._exit(0)\n", "its program ends by itself, with 0"),
        pytest.param("raise SystemExit(3)\n", "its program ends by itself, with 3", marks=pytest.mark.thorough),
        pytest.param("import atexit\natexit.register(print, 'bye')\nprint('hello')\n", "", marks=pytest.mark.thorough),
    ],
)
def test_a_program_that_prints_or_ends_by_itself_is_no_hindrance(tmp_path: Path, first: str, says: str) -> None:
    for name in ("components", "workflows", "handlers", "Pulumi.yaml", "Pulumi.dev.yaml"):
        (tmp_path / name).symlink_to(names.ROOT / name)
    (tmp_path / "__main__.py").write_text(first + (names.ROOT / "__main__.py").read_text(encoding="utf-8"))
    if says:
        with pytest.raises(HourBankError, match=f"^head cannot be recorded with what is installed here: {says}$"):
            read("head", tmp_path, {"dev": {}})
    else:
        assert read("head", tmp_path, {"dev": {}}).stacks["dev"].resources


def test_a_machine_without_git_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert refusal("main") == "there is no git on the PATH: install it"
