"""hourbank as it is installed: a wheel in an environment of its own, used from a folder of no meaning."""

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hourbank import names
from hourbank.errors import HourBankError
from hourbank.export import template_yaml
from hourbank.local import emulator, machine
from hourbank.names import ROOT
from hourbank.review.clone import clone
from tests.helpers.processes import read_until, run_here

UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
FIXTURES = ROOT / "tests" / "fixtures" / "amplify"
SOURCES = (
    *("pyproject.toml", "README.md", "LICENSE", "__main__.py", "Pulumi.yaml", "Pulumi.local.yaml", "Pulumi.dev.yaml"),
    *("hourbank", "components", "workflows", "handlers", "amplify", "tools/build_backend.py"),
)
# what a clone has beside it, and nobody is to be given
STRAY = ("hourbank/__pycache__/x.pyc", "handlers/.env", "amplify/.DS_Store", "components/.hypothesis/x", "notes.txt")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a page that is built, and what else there is in a clone."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        (folder / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    for name in (*STRAY, "frontend/console/dist/index.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("the page")
    return folder


def build(source: Path, out: Path, *what: str) -> Path:
    tools = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(out), "UV_OFFLINE": "1"}
    command = [UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(out)]
    subprocess.run([*command, *what], cwd=source, env=os.environ | tools, check=True)
    return out


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    [wheel] = build(source, tmp_path_factory.mktemp("wheel"), "--wheel").glob("*.whl")
    return wheel


def test_a_wheel_has_the_program_and_nothing_that_lies_about(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
    top = {name.partition("/")[0] for name in files}
    assert top == {"hourbank", f"{wheel.name.split('-py3')[0]}.dist-info"}
    beside = {name for name in files if name.startswith("hourbank/project/")}
    ours = [name for name in files if name.startswith("hourbank/")]
    assert not [name for name in ours if "/." in name or "__pycache__" in name or name.endswith(".txt")]
    stacks = {name for name in beside if "Pulumi" in name}
    assert stacks == {"hourbank/project/Pulumi.yaml", "hourbank/project/Pulumi.local.yaml"}
    wanted = ("__main__.py", "components/names.py", "handlers/bank/ledger.py", "amplify/schema.graphql")
    assert {f"hourbank/project/{name}" for name in (*wanted, "frontend/console/dist/index.html")} <= beside


def test_what_is_built_is_the_same_bytes_again_also_from_the_source_distribution(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    umask = os.umask(0o077)
    try:
        for path in source.rglob("*.py"):
            path.chmod(0o600)
        from_source = build(source, tmp_path / "a")  # the wheel out of the source distribution
        again = build(source, tmp_path / "b", "--sdist")
    finally:
        os.umask(umask)
    assert (from_source / wheel.name).read_bytes() == wheel.read_bytes()
    [first], [second] = from_source.glob("*.tar.gz"), again.glob("*.tar.gz")
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert all(member.mode & stat.S_IRUSR and member.mtime == archive.getmembers()[0].mtime for member in archive)


class Installed:
    """hourbank in an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment, self.home, self.empty = folder / "environment", folder / "home", folder / "empty"
        self.hourbank = str(self.environment / "bin" / "hourbank")
        self.variables = {"PATH": os.defpath, "HOME": str(self.home), "TMPDIR": str(self.home), "LANG": "C.UTF-8"}
        self.home.mkdir()
        self.empty.mkdir()

    def run(self, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.hourbank, *arguments],
            cwd=folder or self.empty,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def does(self, *arguments: str, folder: Path | None = None) -> str:
        done = self.run(*arguments, folder=folder)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @property
    def packages(self) -> Path:
        [folder] = self.environment.glob("lib/python*/site-packages")
        return folder


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """With the versions that are locked, from the user's index; beside packages of others that are called like ours."""
    folder = tmp_path_factory.mktemp("installed")
    here = Installed(folder)
    described = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    tool = importlib.util.module_from_spec(described)
    sys.modules["install"] = tool  # its dataclasses look there
    described.loader.exec_module(tool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)  # where the user's index and cache are
        variables = dict(os.environ)
        pip, reach = tool.pip_settings(), tool.uv_settings()
        reach = reach if reach.default_index else tool.as_uv_settings(pip, reach)
    told = ["--quiet", "--frozen", "--no-hashes", "--no-emit-project", "--all-groups", "--all-extras", "--no-header"]
    locked = tool.run([UV, "export", "--project", str(ROOT), *told], variables)
    (folder / "locked.txt").write_text(locked)
    tool.run([UV, "venv", "--quiet", "--no-project", "--python", sys.executable, str(here.environment)], variables)
    into = ["--quiet", "--python", str(here.environment / "bin" / "python"), "--constraint", str(folder / "locked.txt")]
    install = [UV, "pip", "install", *into, f"hourbank[emulator] @ {wheel.as_uri()}"]
    tool.install(install, variables, reach, folder / "uv.toml")
    for name in ("handlers", "components", "workflows"):
        assert not (here.packages / name).exists()
        (here.packages / name).mkdir()
        (here.packages / name / "__init__.py").write_text("raise RuntimeError('another project')")
    before = set(here.packages.rglob("*"))
    yield here
    new = [path for path in set(here.packages.rglob("*")) - before if "__pycache__" not in path.parts]
    assert new == [], "a command wrote where hourbank is installed"


pytestmark = pytest.mark.xdist_group("wheel")
thorough = pytest.mark.thorough


@thorough
def test_it_starts_and_helps(installed: Installed) -> None:
    assert installed.does("--version").startswith("hourbank ")
    assert "demo" in installed.does("--help")


@thorough
def test_it_exports_what_the_clone_exports(installed: Installed, tmp_path: Path) -> None:
    template_yaml.write_template(tmp_path / "template.yaml", retain=False)
    installed.does("export", "cloudformation", "--out", "template.yaml")
    for name in ("template.yaml", "hourbank-functions.zip"):
        assert (installed.empty / name).read_bytes() == (tmp_path / name).read_bytes(), name


@thorough
def test_it_exports_into_amplify_projects(installed: Installed, tmp_path: Path) -> None:
    backend = shutil.copytree(FIXTURES / "gen1", tmp_path / "gen1") / "amplify" / "backend"
    (backend / "api" / "timebank").mkdir(parents=True, exist_ok=True)
    for schema in (backend / "api").iterdir():
        shutil.copyfile(ROOT / "amplify" / "schema.graphql", schema / "schema.graphql")
    (backend / "backend-config.json").write_text('{"api": {"timebank": {"service": "AppSync"}}}')
    told = ("--start-requests-from", "2026-01-01T00:00:00Z", "--write")
    assert "is changed" in installed.does("export", "amplify", "--into", str(backend), *told)
    gen2 = shutil.copytree(FIXTURES / "gen2", tmp_path / "gen2")
    (gen2 / "amplify").mkdir(exist_ok=True)
    (gen2 / "amplify" / "backend.ts").touch()
    assert "resources" in installed.does("export", "amplify-gen2", "--into", str(gen2 / "amplify"))


@thorough
def test_it_reads_an_amplify_project(installed: Installed) -> None:
    first, *rest = installed.does("doctor", "--amplify", str(FIXTURES / "gen1")).splitlines()
    assert first.endswith("; to be typed in your clone of the project")
    assert [line for line in rest if line.startswith("pulumi config set amplifyApiId ")]


@thorough
def test_it_draws(installed: Installed) -> None:
    (installed.empty / "pictures").mkdir()
    installed.does("diagram", "--out", "pictures")
    for drawn in (installed.empty / "pictures").iterdir():
        assert drawn.read_bytes() == (ROOT / "docs" / "pictures" / drawn.name).read_bytes()


@thorough
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("show", "x"), 3, "nothing is running: start it with `"),
        (("show", "x", "--stack", "dev"), 3, "no AWS region: give --region"),
        (("audit", "--stack", "dev", "--region", "eu-west-1"), 3, "no AWS credentials"),
        (("doctor", "--stack", "dev"), 1, "there is no Pulumi.yaml of hourbank in this folder or above it: run"),
        (("adopt", "--stack", "dev"), 1, "there is no Pulumi.yaml of hourbank in this folder or above it: run"),
        (("plan", "--base", "main"), 1, "two commits of a clone are compared, and this folder is in none: run"),
        (("simulate",), 1, "-m pip install 'hourbank[simulate]'"),
    ],
)
def test_what_it_cannot_do_it_says_in_a_line(
    installed: Installed, arguments: tuple[str, ...], status: int, says: str
) -> None:
    done = installed.run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr and done.stderr.count("\n") == 1


@thorough
def test_stacks_are_those_of_the_project_that_the_user_is_in(installed: Installed, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n  aws:profile: nobodys\n")
    (tmp_path / "app").mkdir()
    done = installed.run("audit", "--stack", "dev", folder=tmp_path / "app")
    assert (done.returncode, done.stdout) == (3, "")
    assert "there is no profile nobodys, which aws:profile of this stack names" in done.stderr


@thorough
def test_it_plans_in_a_clone(installed: Installed, source: Path) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *command], cwd=source, check=True)
    settings = source / "Pulumi.dev.yaml"
    settings.write_text(settings.read_text().replace("logRetentionDays: 14", "logRetentionDays: 90"))
    assert "`14` → `90`" in installed.does("plan", "--base", "HEAD", folder=source)


@thorough
def test_it_plays_the_demo(installed: Installed) -> None:
    assert "All stories ended as they must" in installed.does("demo")


@thorough
def test_it_leaves_a_deployment_running(installed: Installed) -> None:
    process = subprocess.Popen(
        [installed.hourbank, "up"], cwd=installed.empty, env=installed.variables, stdout=subprocess.PIPE, text=True
    )
    try:
        page = read_until(process, "open http://").split()[1]
        with urllib.request.urlopen(page) as answer:
            assert answer.read() == b"the page"
        done = installed.run("request", "--from", "ana", "--to", "ben", "--hours", "2")
        assert (done.returncode, done.stderr.split()[-1]) == (0, "AWAITING_PROVIDER")
        assert "AWAITING_PROVIDER" in installed.does("show", done.stdout.strip())
        assert installed.does("down") == "stopped\n"
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0


@pytest.fixture
def as_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for module in (names, machine, emulator):
        monkeypatch.setattr(module, "IS_INSTALLED", True)
    monkeypatch.setattr(emulator, "_is_beside", lambda: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("content", ["name: hourbank\n", '\ufeffruntime: python\nname: "hourbank"  # ours\n'])
def test_the_nearest_project_is_the_user_s(as_installed: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    assert names.project_folder() is None
    (as_installed / "Pulumi.yaml").write_text(content)
    inside = as_installed / "apps" / "web"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert names.project_folder() == as_installed
    (inside / "Pulumi.yaml").write_text("name: hourbanks\n")
    assert names.project_folder() is None
    (inside / "Pulumi.yaml").unlink()
    (inside / "Pulumi.yaml").mkdir()
    assert names.project_folder() == as_installed
    inside.rename(as_installed / "gone")
    (as_installed / "gone" / "Pulumi.yaml").rmdir()
    (as_installed / "gone").rmdir()
    assert names.project_folder() is None


def test_where_it_is_installed_nothing_is_written_beside_it(as_installed: Path) -> None:
    own = machine.state_folder({})
    assert own.name == f"hourbank-of-{os.getuid()}"
    assert str(ROOT) not in machine._places()
    assert machine.state_folder({"HOURBANK_STATE": "/somewhere"}) == Path("/somewhere")


def test_without_the_emulator_a_line_says_what_installs_it(
    as_installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_here(as_installed, capsys, "demo")
    assert done.returncode == 1
    assert done.stderr == f"hourbank: the emulator is not installed here: `{names.to_install('emulator')}` does it\n"
    assert names.to_install("emulator").endswith(" -m pip install 'hourbank[emulator]'")


def test_no_clone_is_a_line(as_installed: Path) -> None:
    with pytest.raises(HourBankError, match="run this in yours"):
        clone()
