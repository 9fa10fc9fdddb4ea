"""`make .venv` installs what the lock pins, whatever the machine's uv and pip are set to.

Most tests install a project of three small packages from an index that this file serves, so none needs a network.
"""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hourbank.names import ROOT

UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
REGISTRY = "https://index.invalid/simple"
"""What the small project's lock names, as the lock of this project names the public index: nobody can reach it."""

PROJECT = """
[project]
name = "small"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha>=1"]

[project.scripts]
small = "small:main"

[dependency-groups]
dev = ["beta", "backend"]
emulator = ["gamma"]
uv = ["uv"]

[build-system]
requires = ["backend"]
build-backend = "backend"

[tool.uv]
required-version = ">=0.9.5"
"""

BACKEND = """
import base64, hashlib, os, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    files = {
        "small.pth": os.getcwd(),
        "small-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n",
        "small-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "small-1.dist-info/entry_points.txt": "[console_scripts]\\nsmall = small:main\\n",
        "small-1.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(os.path.join(folder, "small-1-py3-none-any.whl"), "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "small-1-py3-none-any.whl"
"""


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    info = f"{name}-{version}.dist-info"
    described = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in (files | described).items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, text)


@dataclass
class Index:
    """A package index on this machine, with its files at an address of its own."""

    wheels: Path
    password: str = ""
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> "Index":
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_CONNECT(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                index.asked.append(self.path)
                right = f"Basic {base64.b64encode(f'ana:{index.password}'.encode()).decode()}"
                if index.password and self.headers.get("Authorization") != right:
                    return self.answer(401, b"")
                found = index.page(self.path) if self.path.startswith("/simple/") else index.file(self.path)
                return self.answer(404 if found is None else 200, found or b"")

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.address}/simple"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def page(self, path: str) -> bytes | None:
        wanted = re.sub(r"[-_.]+", "[-_.]", path.removeprefix("/simple/").strip("/"))
        files = [file for file in sorted(self.wheels.iterdir()) if re.match(f"{wanted}-", file.name)]
        links = (
            f'<a href="/elsewhere/{file.name}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">{file.name}</a>'
            for file in files
        )
        return "".join(links).encode() if files else None

    def file(self, path: str) -> bytes | None:
        file = self.wheels / path.rpartition("/")[2]
        return file.read_bytes() if file.is_file() else None


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    wheels = tmp_path_factory.mktemp("wheels")
    for name in ("alpha", "beta", "gamma"):
        make_wheel(wheels, name, "1.0", {f"{name}.py": ""})
    make_wheel(wheels, "backend", "1.0", {"backend.py": BACKEND})
    make_wheel(wheels, "uv", "0.13.9", {"uv-0.13.9.data/scripts/uv": f'#!/bin/sh\nexec "{UV}" "$@"\n'})
    with Index(wheels) as index:
        yield index


@pytest.fixture(scope="module")
def locked(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project, locked; since then its index has a later version of each package."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "small.py").write_text("def main():\n    import alpha\n    print('it runs')\n")
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "UV_DEFAULT_INDEX": index.url, "UV_PYTHON": sys.executable}
    subprocess.run([UV, "lock", "--quiet"], cwd=folder, env=home, check=True)
    lock = folder / "uv.lock"
    lock.write_text(lock.read_text().replace(index.url, REGISTRY).replace(index.url[:-7], "https://files.invalid"))
    for name in ("alpha", "beta", "gamma", "backend"):
        make_wheel(index.wheels, name, "1.1", {f"{name}.py": "import nothing"})
    return folder


@dataclass
class Machine:
    """A machine with the small project's clone on it."""

    home: Path
    clone: Path
    variables: dict[str, str]

    def write(self, path: str, text: str) -> None:
        (self.home / path).parent.mkdir(parents=True, exist_ok=True)
        (self.home / path).write_text(text)

    def install(self, environment: str = ".venv", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(ROOT / "tools" / "install.py"), environment],
            cwd=self.clone,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self, environment: str = ".venv") -> set[str]:
        """Names and versions of the packages in an environment that was made to its end."""
        assert (self.clone / environment / ".locked").is_file()
        infos = (self.clone / environment).glob("lib/python*/site-packages/*.dist-info")
        return {info.name.removesuffix(".dist-info") for info in infos}


EVERYTHING = {"alpha-1.0", "beta-1.0", "backend-1.0", "small-1"}


@pytest.fixture
def machine(locked: Path, tmp_path: Path) -> Machine:
    clone = shutil.copytree(locked, tmp_path / "clone", ignore=shutil.ignore_patterns(".*"))
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "uv").symlink_to(UV)
    return Machine(tmp_path, clone, {"HOME": str(tmp_path), "PATH": f"{folder}:/usr/bin:/bin"})


DEFAULT = 'index = [{ url = "URL", default = true }]'


def variable(name: str, value: str = "{url}") -> Callable[[Machine, Index], None]:
    def set_variable(machine: Machine, index: Index) -> None:
        machine.variables[name] = value.format(url=index.url, wheels=index.wheels)

    set_variable.__name__ = name
    return set_variable


def file(path: str, text: str, **variables: str) -> Callable[[Machine, Index], None]:
    def write_file(machine: Machine, index: Index) -> None:
        (machine.home / "wheels").symlink_to(index.wheels)
        machine.write(path, text.replace("URL", index.url).replace("WHEELS", str(index.wheels)))
        machine.variables |= {name: value.replace("HOME", str(machine.home)) for name, value in variables.items()}

    write_file.__name__ = f"{path} {text.partition('=')[0].strip()}"
    return write_file


@pytest.mark.parametrize(
    "set_index",
    [
        variable("UV_DEFAULT_INDEX", "{url}/"),
        file(".config/uv/uv.toml", '[[index]]\nurl = "URL"\ndefault = true\n'),
        file(".config/pip/pip.conf", "[global]\nquiet = 2\nindex_url = URL\n"),
        *(
            pytest.param(each, marks=pytest.mark.thorough)
            for each in [
                variable("UV_DEFAULT_INDEX"),
                variable("UV_DEFAULT_INDEX", "corp={url}"),
                variable("UV_INDEX_URL"),
                variable("UV_INDEX"),
                variable("UV_EXTRA_INDEX_URL"),
                variable("UV_FIND_LINKS", "{wheels}"),
                file(".config/uv/uv.toml", '[[index]]\nname = "corp"\nurl = "URL"\n'),
                file(".config/uv/uv.toml", 'index-url = "URL"\n'),
                file(".config/uv/uv.toml", '[pip]\nindex-url = "URL"\n'),
                file(".config/uv/uv.toml", 'no-index = true\nfind-links = ["../../wheels"]\n'),
                file("mine.toml", DEFAULT, UV_CONFIG_FILE="HOME/mine.toml"),
                file("xdg/uv/uv.toml", DEFAULT, XDG_CONFIG_DIRS="HOME/xdg"),
                file("clone/uv.toml", DEFAULT),
                variable("PIP_INDEX_URL"),
                variable("PIP_EXTRA_INDEX_URL"),
                file(".pip/pip.conf", "[install]\nindex-url = URL\n"),
                file(
                    "pip.conf",
                    "[global]\nno-index = y\nfind-links = /none\n    WHEELS",
                    PIP_CONFIG_FILE="HOME/pip.conf",
                ),
            ]
        ),
    ],
)
def test_it_installs_what_is_locked_from_the_users_index(
    machine: Machine, index: Index, set_index: Callable[[Machine, Index], None]
) -> None:
    set_index(machine, index)
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert machine.installed() == EVERYTHING
    assert not (done.stdout + done.stderr)


def test_parts_of_the_lock_go_into_environments_of_their_own(machine: Machine, index: Index) -> None:
    done = machine.install(".venv-emulator", UV_DEFAULT_INDEX=index.url)
    assert done.returncode == 0, done.stderr
    assert machine.installed(".venv-emulator") == {"gamma-1.0"}


ASTRAY = {
    name: value
    for value, names in {
        "1": "UV_NO_DEV UV_DEV UV_NO_DEFAULT_GROUPS UV_NO_BINARY UV_NO_BUILD UV_NO_EDITABLE UV_NO_INSTALL_PROJECT"
        " UV_FROZEN UV_LOCKED UV_ISOLATED UV_MANAGED_PYTHON UV_SYSTEM_PYTHON UV_BREAK_SYSTEM_PACKAGES UV_NO_SYNC"
        " UV_NO_VERIFY_HASHES UV_NO_BUILD_ISOLATION UV_VENV_SEED UV_VENV_RELOCATABLE UV_NO_SOURCES"
        " UV_REQUIRE_BUILD_HASHES PYTHONNOUSERSITE",
        "alpha": "UV_NO_BINARY_PACKAGE UV_NO_BUILD_PACKAGE",
        "dev": "UV_NO_GROUP",
        "HOME/other": "UV_PROJECT_ENVIRONMENT UV_PROJECT UV_WORKING_DIR UV_WORKING_DIRECTORY UV_PYTHON_INSTALL_DIR"
        " VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONPYCACHEPREFIX",
        "HOME/newer.txt": "UV_CONSTRAINT UV_OVERRIDE UV_BUILD_CONSTRAINT UV_EXCLUDE",
        "2001-01-01": "UV_EXCLUDE_NEWER",
        "lowest": "UV_RESOLUTION",
        "allow": "UV_PRERELEASE",
        "symlink": "UV_LINK_MODE",
        "3.99": "UV_PYTHON",
        "cpu": "UV_TORCH_BACKEND",
        "unsafe-best-match": "UV_INDEX_STRATEGY",
    }.items()
    for name in names.split()
}

UV_TOML = """
exclude-newer = "2001-01-01"
resolution = "lowest"
no-binary = true
no-build = true
link-mode = "symlink"
python-preference = "only-managed"
constraint-dependencies = ["alpha==1.1"]
override-dependencies = ["alpha==1.1"]

[[index]]
url = "URL"
default = true

[pip]
target = "HOME/other"
system = true
break-system-packages = true
no-binary = ["alpha"]
only-binary = [":none:"]
no-deps = true
verify-hashes = false
python-version = "3.99"
python = "3.99"
reinstall = true
"""


def stray(machine: Machine) -> dict[str, str]:
    """Everything of uv's and Python's that could lead astray."""
    machine.write("newer.txt", "alpha==1.1\n")
    machine.write("other/alpha.py", "")
    return {name: value.replace("HOME", str(machine.home)) for name, value in ASTRAY.items()}


def test_no_setting_of_uv_changes_what_is_installed_or_where(machine: Machine, index: Index) -> None:
    machine.write(".config/uv/uv.toml", UV_TOML.replace("URL", index.url).replace("HOME", str(machine.home)))
    done = machine.install(**stray(machine))
    assert done.returncode == 0, done.stderr
    assert machine.installed() == EVERYTHING
    assert [each.name for each in (machine.home / "other").iterdir()] == ["alpha.py"]
    assert not [each for each in (machine.clone / ".venv").glob("lib/python*/site-packages/*.py") if each.is_symlink()]


PIP_ASTRAY = {
    name: value
    for value, names in {
        "1": "PIP_USER PIP_NO_DEPS PIP_DRY_RUN PIP_REQUIRE_VIRTUALENV PIP_PRE PIP_QUIET PIP_BREAK_SYSTEM_PACKAGES",
        "HOME/other": "PIP_TARGET PIP_PREFIX PIP_ROOT PIP_SRC",
        "HOME/newer.txt": "PIP_CONSTRAINT PIP_REQUIREMENT",
        ":all:": "PIP_NO_BINARY",
        "win32": "PIP_PLATFORM",
        "3.5": "PIP_PYTHON_VERSION",
    }.items()
    for name in names.split()
}

PIP_CONF = """
[global]
index-url = URL
quiet = 3
require-virtualenv = true

[install]
user = true
target = HOME/other
no-binary = :all:
constraint = HOME/newer.txt
"""


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["pip.conf", "uv's variables"])
def test_pip_installs_uv_where_there_is_none_that_can_read_the_lock(machine: Machine, index: Index, where: str) -> None:
    (machine.home / "bin" / "uv").unlink()
    machine.write("bin/uv", "#!/bin/sh\necho uv 0.9.4\n")
    (machine.home / "bin" / "uv").chmod(0o755)
    conf = PIP_CONF.replace("HOME", str(machine.home)).replace("URL", index.url)
    machine.write(".config/pip/pip.conf", conf if where == "pip.conf" else conf.replace("index-url", "# "))
    if where == "uv's variables":
        machine.variables["UV_DEFAULT_INDEX"] = index.url
    stray_pip = {name: value.replace("HOME", str(machine.home)) for name, value in PIP_ASTRAY.items()}
    done = machine.install(**stray(machine), **stray_pip)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "installing uv 0.13.9 into .uv\n"
    assert machine.installed() == EVERYTHING
    assert [each.name for each in (machine.home / "other").iterdir()] == ["alpha.py"]
    # once is enough
    assert not machine.install().stdout


@pytest.mark.thorough
def test_another_uv_than_the_locked_one_is_refused(machine: Machine, index: Index, tmp_path: Path) -> None:
    (machine.home / "bin" / "uv").unlink()
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "uv", "0.13.9", {"uv-0.13.9.data/scripts/uv": "#!/bin/sh\necho uv 0.13.9\n"})
    with Index(wheels) as other:
        done = machine.install(PIP_INDEX_URL=other.url)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert done.stderr.endswith(".venv was not made: `.uv/bin/python -m pip ...` failed, see above\n")
    assert not (machine.clone / ".venv").exists()


def test_other_files_than_the_locked_ones_are_refused(machine: Machine, tmp_path: Path) -> None:
    for name in ("alpha", "beta", "backend"):
        make_wheel(tmp_path / "wheels", name, "1.0", {f"{name}.py": "import evil"})
    with Index(tmp_path / "wheels") as other:
        done = machine.install(UV_DEFAULT_INDEX=other.url)
    assert done.returncode == 1
    assert "Hash mismatch" in done.stderr
    assert "docs/install.md" in done.stderr.splitlines()[-1]
    assert not (machine.clone / ".venv" / ".locked").exists()


@pytest.mark.parametrize("version", ["1.0", pytest.param("0.9", marks=pytest.mark.thorough)])
def test_an_additional_index_does_not_hide_what_the_default_one_has(
    machine: Machine, index: Index, tmp_path: Path, version: str
) -> None:
    """Such as an index of builds for one processor, with files of its own for packages that are locked."""
    make_wheel(tmp_path / "wheels", "alpha", version, {"alpha.py": "import other"})
    with Index(tmp_path / "wheels") as other:
        done = machine.install(UV_DEFAULT_INDEX=index.url, UV_INDEX=other.url)
    assert done.returncode == 0, done.stderr
    assert machine.installed() == EVERYTHING


@pytest.mark.parametrize("told", ["in the address", "for the name", "in .netrc"])
@pytest.mark.thorough
def test_credentials_of_an_index_are_used_and_not_told(machine: Machine, index: Index, told: str) -> None:
    with Index(index.wheels, password="s3cret") as guarded:
        refused = machine.install(UV_DEFAULT_INDEX=f"http://ana:wr0ng@{guarded.address}/simple")
        assert refused.returncode == 1
        assert "wr0ng" not in refused.stdout + refused.stderr
        if told == "in the address":
            url = guarded.url.replace("//", "//ana:s3cret@")
            machine.write(".config/uv/uv.toml", f'index = [{{url = "{url}", default = true}}]')
            done = machine.install()
        elif told == "for the name":
            machine.write(".config/uv/uv.toml", f'index = [{{name = "corp", url = "{guarded.url}", default = true}}]')
            done = machine.install(UV_INDEX_CORP_USERNAME="ana", UV_INDEX_CORP_PASSWORD="s3cret")
        else:
            machine.write(".netrc", "machine 127.0.0.1 login ana password s3cret\n")
            done = machine.install(UV_DEFAULT_INDEX=guarded.url)
    assert done.returncode == 0, done.stderr
    assert machine.installed() == EVERYTHING
    assert not any("s3cret" in file.read_text() for file in (machine.clone / ".uv").rglob("*.*"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"alpha>=1"', '"alpha>=1", "delta"'),
        ('"alpha>=1"', '"alpha>=1.1"'),
        pytest.param('dependencies = ["alpha>=1"]', "", marks=pytest.mark.thorough),
        pytest.param('"gamma"', '"gamma<1.1"', marks=pytest.mark.thorough),
        pytest.param(">=3.11", ">=3.10", marks=pytest.mark.thorough),
    ],
)
def test_a_lock_that_does_not_fit_is_refused_without_asking_an_index(
    machine: Machine, index: Index, old: str, new: str
) -> None:
    project = machine.clone / "pyproject.toml"
    project.write_text(project.read_text().replace(old, new))
    index.asked.clear()
    done = machine.install(UV_DEFAULT_INDEX=index.url, HTTPS_PROXY=f"http://{index.address}")
    assert done.returncode == 1
    assert done.stderr == ".venv was not made: uv.lock does not fit pyproject.toml: run `uv lock`, and commit both\n"
    assert not index.asked
    assert not (machine.clone / ".venv").exists()


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("clone/uv.lock", "<<<<<<< HEAD", "uv.lock cannot be read: "),
        ("clone/pyproject.toml", "=", "pyproject.toml cannot be read: "),
        (".config/uv/uv.toml", "index = [", ".config/uv/uv.toml cannot be read: "),
        (".config/uv/uv.toml", "index = [{}]", ".config/uv/uv.toml says of indexes what uv cannot read either: "),
    ],
)
def test_a_broken_file_is_blamed_in_one_line(machine: Machine, path: str, text: str, words: str) -> None:
    machine.write(path, text)
    done = machine.install()
    assert done.returncode == 1
    assert done.stderr.startswith(".venv was not made: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.thorough
def test_an_environment_of_another_python_is_made_anew(machine: Machine, index: Index) -> None:
    assert machine.install(UV_DEFAULT_INDEX=index.url).returncode == 0
    (kept := machine.clone / ".venv" / "kept").touch()
    assert machine.install(UV_DEFAULT_INDEX=index.url).returncode == 0
    assert kept.exists()
    python = machine.clone / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\necho 3.10.1 /usr\n")
    python.chmod(0o755)
    assert machine.install(UV_DEFAULT_INDEX=index.url).returncode == 0
    assert machine.installed() == EVERYTHING
    assert not kept.exists()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with a name of its own for `@dataclass`."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    assert spec and spec.loader
    monkeypatch.setitem(sys.modules, "install", install := importlib.util.module_from_spec(spec))
    spec.loader.exec_module(install)
    return install


def test_of_pips_files_the_one_counts_that_counts_for_pip(
    machine: Machine, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write(".pip/pip.conf", "[global]\nindex-url = http://old/simple\nretries = 1\n[list]\nformat = json\n")
    machine.write(".config/pip/pip.conf", "[global]\nindex_url = http://new/simple\nextra-index-url =\n  a\n  b\n")
    for name in [name for name in os.environ if name.startswith(("PIP_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(machine.home))

    def told() -> dict[str, str]:
        # and what this machine has for all
        return {name: value for name, value in install.pip_settings().items() if name not in ("cert", "find-links")}

    users = {"index-url": "http://new/simple", "retries": "1", "extra-index-url": "\na\nb"}
    assert told() == users
    monkeypatch.setenv("PIP_CONFIG_FILE", str(machine.home / "own.conf"))
    assert told() == users
    machine.write("own.conf", "[install]\nextra-index-url = c\n[global]\ndefault-timeout = 7\nextra-index-url = d\n")
    assert told() == {"extra-index-url": "c", "timeout": "7"}
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "e")
    assert told() == {"extra-index-url": "e", "timeout": "7"}
    machine.write("own.conf", "no ini")
    assert told() == {"extra-index-url": "e"}
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert install.pip_settings() == {"extra-index-url": "e"}


def test_what_pip_writes_otherwise_than_uv_is_translated(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    for name in list(os.environ):
        if name.startswith(("UV_", "SSL_")):
            monkeypatch.delenv(name)
    pip = {"timeout": "7.5", "retries": "many", "cert": "~/ca.pem", "find-links": "~/none http://x/"}
    reach = install.as_uv_settings(pip, install.Reach({}, {"index": [], "pip": {}}))
    assert reach.variables == {
        "UV_HTTP_TIMEOUT": "8",
        "SSL_CERT_FILE": "/home/ana/ca.pem",
        "UV_FIND_LINKS": "http://x/",
    }


def test_a_user_without_a_home_has_settings_and_a_cache_too(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    nothing = install.Reach({}, {"index": [], "pip": {}})
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "UV_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not install.needs_own_cache(nothing)
    monkeypatch.setattr(Path, "home", none)
    assert [file for file in install.uv_files() if os.devnull in str(file)] == []
    assert install.needs_own_cache(nothing)
    assert not install.needs_own_cache(install.Reach({"UV_CACHE_DIR": "/x"}, {}))


def test_a_folder_that_no_path_can_name_is_told_at_once(
    machine: Machine, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.clone.rename(machine.home / "a:b"))
    with pytest.raises(install.Refused, match="a:b has a : in it, which no PATH can: clone into another folder"):
        install.main(".venv")


def test_a_clone_that_may_not_be_written_is_told_at_once(
    machine: Machine, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.clone)
    # whoever runs the tests may be allowed everything
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(install.Refused, match=f"^{re.escape(str(machine.clone))} may not be written: clone into"):
        install.main(".venv")
    assert not (machine.clone / ".uv").exists()


@pytest.mark.thorough
def test_make_installs_in_a_folder_with_any_name(machine: Machine, index: Index) -> None:
    clone = machine.clone.rename(machine.home / "Ana's clone, ü")
    for path in ("Makefile", "tools/install.py"):
        (clone / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, clone / path)
    for path in ("frontend/src", "frontend/console"):
        (clone / path).mkdir(parents=True)
    (python := machine.home / "a python").symlink_to(sys.executable)
    make = ["make", "-j2", ".venv", ".venv-emulator"]
    variables = machine.variables | {"UV_DEFAULT_INDEX": index.url, "PYTHONHOME": "/none"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*make, *arguments], cwd=clone, env=variables, capture_output=True, text=True, check=False
        )

    none = run("PYTHON=/none/python")
    assert none.returncode == 2
    assert "hourbank needs Python 3.11 or newer, and /none/python is not there: " in none.stderr
    done = run(f"PYTHON={python}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "installing the locked packages into .venv (once)",
        "installing the emulator into .venv-emulator (once)",
    ]
    for locale in ("C", "C.UTF-8", "de_DE.ISO-8859-1"):
        environment = {"LC_ALL": locale, "PATH": os.environ["PATH"]}
        small = subprocess.check_output([clone / ".venv" / "bin" / "small"], env=environment, text=True)
        assert small == "it runs\n"
    assert "Nothing to be done" in run().stdout
    (clone / "uv.lock").touch()
    assert "installing" in run(f"PYTHON={python}").stdout


def test_make_of_macos_reads_the_makefile() -> None:
    """GNU make 3.81 takes what came later for something else, mostly without a word."""
    settings = r"^\.(ONESHELL|POSIX|NOTINTERMEDIATE)|^define \w+ *[:?+]?=|^\w+ *(!|::+)=|^(private|undefine) "
    later = settings + r"|&:|\$\((file|guile|let|intcmp) "
    assert not re.search(later, (ROOT / "Makefile").read_text(), re.MULTILINE)


class PassingOn(Index):
    """A mirror of the index that this project's lock names: its pages and its files, at one address."""

    def page(self, path: str) -> bytes | None:
        lock = (ROOT / "uv.lock").read_text()
        registry = re.findall(r'registry = "([^"]+)"', lock)[0].rstrip("/")
        url = registry + path.removeprefix("/simple")
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"})) as answer:
            page = answer.read().decode()

        def here(link: re.Match[str]) -> str:
            folder, _, file = urllib.parse.urljoin(url, link[1]).rpartition("/")
            return f'href="/elsewhere/{urllib.parse.quote(folder, safe="")}/{file}"'

        return re.sub(r'data-[a-z-]+-metadata="[^"]*"', "", re.sub(r'href="([^"]+)"', here, page)).encode()

    def file(self, path: str) -> bytes | None:
        with urllib.request.urlopen(urllib.parse.unquote(path.removeprefix("/elsewhere/"))) as answer:
            return answer.read()


# what passes in waiting: a group is begun before single tests
@pytest.mark.xdist_group("mirror")
@pytest.mark.thorough
@pytest.mark.parametrize("environment", [".venv-emulator", "tools/sam/.venv"], ids=["the lock of .venv", "SAM's"])
def test_this_project_installs_from_a_mirror(machine: Machine, environment: str) -> None:
    clone = machine.home / "project"
    listed = subprocess.check_output(["git", "-C", ROOT, "ls-files", "-z"], text=True)
    for path in filter(None, listed.split("\0")):
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, clone / path)
    machine.clone = clone
    with PassingOn(clone) as mirror:
        done = machine.install(environment, UV_DEFAULT_INDEX=mirror.url)
    assert done.returncode == 0, done.stderr
    pinned = tomllib.loads(((clone / environment).parent / "uv.lock").read_text())["package"]
    installed = {re.sub(r"[-_.]+(?=.*-)", "-", name).lower() for name in machine.installed(environment)}
    assert installed <= {f"{each['name']}-{each.get('version')}" for each in pinned}
    assert len(installed) > 10
    assert mirror.asked
