"""Makes an environment of the project: exactly what its lock pins, hashes checked, from the index that the user has.

    python3 -I tools/install.py .venv | .venv-emulator | tools/sam/.venv

`uv sync` takes a lock for stale that was made with another index than the user's, or downloads from its addresses. So
here the lock says which versions and hashes, and the user's settings from where: those of uv, or of pip where uv's name
no index. Only the settings listed here are handed on: the others change what is installed, or into what.
Nothing is installed yet when this runs, so it imports the standard library alone.
"""

import configparser
import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Variables = dict[str, str]
Table = dict[str, Any]

ENVIRONMENTS = {".venv": [], ".venv-emulator": ["--only-group", "emulator"], "tools/sam/.venv": []}
"""Each environment of the project in the folder around it, with the part of the lock it has, as `uv export` is told."""

UV_VARIABLES = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|FIND_LINKS|KEYRING_PROVIDER"
    r"|CREDENTIALS_DIR|API_KEY|AUTH_TOKEN|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|OFFLINE|CACHE_DIR|NO_CACHE|LOCK_TIMEOUT"
    r"|(HTTP|REQUEST|CONCURRENT)_\w+|\w+_ENDPOINT_URL)"
)
"""uv's variables that say how an index is reached: https://docs.astral.sh/uv/reference/environment/."""

UV_KEYS = {
    *("index", "index-url", "extra-index-url", "find-links", "no-index", "keyring-provider", "allow-insecure-host"),
    *("native-tls", "system-certs", "http-proxy", "https-proxy", "no-proxy", "offline", "cache-dir", "no-cache"),
    *("concurrent-downloads", "concurrent-builds", "concurrent-installs"),
}
"""The same in a uv.toml, in its table `pip` as well: https://docs.astral.sh/uv/reference/settings/."""

PIP_OPTIONS = {
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert", "proxy"),
    *("timeout", "retries", "keyring-provider", "cache-dir"),
}
"""The same among pip's: https://pip.pypa.io/en/stable/cli/pip/."""

TRUE = ("1", "true", "yes", "y", "on", "t")

ITSELF = "-e .\n"
"""The project among the requirements that `uv export` makes of its lock."""


class Refused(Exception):
    """What is wrong and what to do, in one line."""


@dataclass(frozen=True)
class Reach:
    """How uv reaches an index."""

    variables: Variables
    config: Table
    """The keys of a uv.toml."""

    @property
    def default_index(self) -> str:
        """URL of the default index, empty where none is set."""
        variable = self.variables.get("UV_DEFAULT_INDEX") or self.variables.get("UV_INDEX_URL") or ""
        tables = (index["url"] for index in self.config["index"] if index.get("default"))
        key = self.config["pip"].get("index-url") or self.config.get("index-url", "")
        return re.sub(r"^[\w-]+=", "", variable) or next(tables, key)

    def without_extra(self) -> "Reach":
        """The default index alone."""
        extra = {"UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "extra-index-url", "find-links"}
        config = {key: value for key, value in self.config.items() if key not in extra}
        config |= {"index": [index for index in config["index"] if index.get("default")]}
        config |= {"pip": {key: value for key, value in config["pip"].items() if key not in extra}}
        return Reach({name: value for name, value in self.variables.items() if name not in extra}, config)

    def handed_on(self, file: Path) -> Variables:
        """Variables for uv, with the keys of the configuration in `file`."""
        file.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in self.config.items()), encoding="utf-8")
        return self.variables | {"UV_CONFIG_FILE": str(file)}


def main(environment: str) -> None:
    place = Path(environment)
    project = place.parent
    for folder in (Path(), project, place):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise Refused(f"{folder.resolve()} may not be written: clone into a folder of yours, and run make there")
    if os.pathsep in str(Path.cwd()):
        raise Refused(f"{Path.cwd()} has a {os.pathsep} in it, which no PATH can: clone into another folder")
    read_toml(project / "pyproject.toml")
    lock = read_toml(project / "uv.lock")
    # without what could lead uv, pip or Python astray
    astray = re.compile("UV_|PIP_(?!CONFIG_FILE$)|PYTHON|VIRTUAL_ENV|CONDA_")
    clean = {name: value for name, value in os.environ.items() if not astray.match(name)}
    clean["UV_PYTHON_DOWNLOADS"] = "never"
    reach, pip = uv_settings(), pip_settings()
    uv = find_uv(clean, {"index-url": reach.default_index} | pip if reach.default_index else pip)
    if not reach.default_index:
        reach = as_uv_settings(pip, reach)
    if needs_own_cache(reach):
        reach.variables["UV_CACHE_DIR"] = str(Path(".uv/cache").resolve())

    Path(".uv").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="install-", dir=".uv") as folder:
        work = Path(folder)
        # the environment may be one that uv cannot use, of a Python that is no longer there
        alone = (
            clean | of_lock(lock, reach).handed_on(work / "lock.toml") | {"UV_PROJECT_ENVIRONMENT": str(work / "none")}
        )
        requirements = read_lock(uv, project, ENVIRONMENTS[environment], alone)
        if not made_with_this_python(place):
            run([uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(place)], alone)
        into = ["--quiet", "--python", str(place / "bin" / "python")]
        (work / "requirements.txt").write_text(requirements.replace(ITSELF, ""))
        # without bytecode every run of the program takes three times as long
        sync = [uv, "pip", "sync", *into, "--require-hashes", "--compile-bytecode", str(work / "requirements.txt")]
        install(sync, clean, reach, work / "uv.toml")
        if ITSELF in requirements:
            # its build backend is among what was just installed
            itself = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(project)]
            run([uv, "pip", "install", *into, *itself], alone)
            make_relative(place)
    (place / ".locked").touch()


def make_relative(place: Path) -> None:
    """Let the environment find the project by the way from there: Python 3.11 reads a path as the locale is, or not."""
    project = str(place.parent.resolve())
    for file in place.glob("lib/python*/site-packages/*.pth"):
        if file.read_bytes().decode(errors="replace").strip().rstrip("/") == project:
            way = os.path.relpath(project, file.parent.resolve())
            file.write_text(f"{way}\n", encoding="utf-8")


def read_toml(file: Path) -> Table:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise Refused(f"{file} cannot be read: {error}") from None


def uv_settings() -> Reach:
    """The user's settings of uv: variables, and the files that uv would read."""
    variables = {name: value for name, value in os.environ.items() if UV_VARIABLES.fullmatch(name)}
    config: Table = {"index": [], "pip": {}}
    for file in uv_files():
        table = read_toml(file)
        try:
            merge(config, table, file.parent)
            merge(config["pip"], table.get("pip", {}), file.parent)
        except (AttributeError, KeyError, TypeError) as error:
            raise Refused(f"{file} says of indexes what uv cannot read either: {error!r}") from None
    return Reach(variables, config)


def uv_files() -> list[Path]:
    """The first wins: https://docs.astral.sh/uv/concepts/configuration-files/."""
    if os.environ.get("UV_CONFIG_FILE"):
        return [Path(os.environ["UV_CONFIG_FILE"])]
    if os.environ.get("UV_NO_CONFIG", "").lower() in TRUE:
        return []
    home, machine = config_folders()
    of_machine = (folder / "uv" / "uv.toml" for folder in [*machine, Path("/etc")])
    files = [Path("uv.toml"), home / "uv" / "uv.toml", *[file for file in of_machine if file.is_file()][:1]]
    return [file for file in files if file.is_file()]


def config_folders() -> tuple[Path, list[Path]]:
    """Where programs keep settings: the user's folder, and those of the machine."""
    machine = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    return Path(os.environ.get("XDG_CONFIG_HOME") or in_home(".config")), [Path(folder) for folder in machine]


def in_home(name: str) -> Path:
    """A place in the user's home, as uv and pip find it; nowhere, where there is none."""
    with contextlib.suppress(RuntimeError):
        return Path.home() / name
    return Path(os.devnull, name)


def needs_own_cache(reach: Reach) -> bool:
    """Whether uv could not make its cache where it makes it if it is told nothing."""
    told = {"UV_CACHE_DIR", "UV_NO_CACHE"} & reach.variables.keys() or {"cache-dir", "no-cache"} & reach.config.keys()
    place = Path(os.environ.get("XDG_CACHE_HOME") or in_home(".cache"), "uv")
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return not told and not (there.is_dir() and os.access(there, os.W_OK | os.X_OK))


def merge(into: Table, table: Table, folder: Path) -> None:
    """Adds what `table` says about indexes; paths in it are relative to `folder`."""
    for key in UV_KEYS & table.keys():
        value = table[key]
        if key == "index":
            value = [index | {"url": absolute(index["url"], folder)} for index in value]
        elif key in ("find-links", "extra-index-url"):
            value = [absolute(each, folder) for each in value]
        elif key in ("index-url", "cache-dir"):
            value = absolute(value, folder)
        into[key] = into.get(key, []) + value if isinstance(value, list) else into.get(key, value)


def absolute(place: str, folder: Path) -> str:
    return place if "://" in place else str((folder / place).resolve())


def pip_settings() -> Variables:
    """The user's options of pip that say how an index is reached, from its files and from variables.

    They are read here: a Python need not have pip, and `pip config list` does not say which of two files counts.
    """
    options = read_pip_files() | {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_") and value
    }
    if "default-timeout" in options:
        options["timeout"] = options["default-timeout"]
    return {option: value for option, value in options.items() if option in PIP_OPTIONS}


def read_pip_files() -> Variables:
    """The last wins, and `install` over `global`: https://pip.pypa.io/en/stable/topics/configuration/."""
    own = os.environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return {}
    home, folders = config_folders()
    user, machine = home / "pip", [folder / "pip" for folder in folders]
    if sys.platform == "darwin":
        machine, mac = [Path("/Library/Application Support/pip")], in_home("Library/Application Support/pip")
        user = mac if mac.is_dir() else user
    # the user's count where no other is named
    of_user = [] if own and Path(own).exists() else [in_home(".pip"), user]
    folders = [*machine, Path("/etc"), *of_user, Path(sys.prefix)]
    sections: dict[str, Variables] = {"global": {}, "install": {}}
    for file in [*(folder / "pip.conf" for folder in folders), *([Path(own)] if own else [])]:
        parser = configparser.RawConfigParser()
        with contextlib.suppress(configparser.Error, UnicodeError):
            parser.read(file, encoding="utf-8")
        for section in sections.keys() & set(parser.sections()):
            sections[section] |= {name.replace("_", "-").lstrip("-"): value for name, value in parser.items(section)}
    return sections["global"] | sections["install"]


def as_uv_settings(pip: Variables, reach: Reach) -> Reach:
    """The same for uv, which does not know pip's; what the user says to uv wins."""
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_EXTRA_INDEX_URL",
        "find-links": "UV_FIND_LINKS",
        "trusted-host": "UV_INSECURE_HOST",
        "timeout": "UV_HTTP_TIMEOUT",
        "retries": "UV_HTTP_RETRIES",
        "cert": "SSL_CERT_FILE",
        "client-cert": "SSL_CLIENT_CERT",
        "proxy": "ALL_PROXY",
    }
    variables = {names[option]: " ".join(value.split()) for option, value in pip.items() if option in names}
    for name in ("SSL_CERT_FILE", "SSL_CLIENT_CERT"):
        if name in variables:
            variables[name] = os.path.expanduser(variables[name])  # noqa: PTH111
    # pip takes parts of a second
    for name in ("UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"):
        with contextlib.suppress(KeyError, ValueError, OverflowError):
            variables[name] = str(math.ceil(float(variables.pop(name))))
    if "find-links" in pip:
        # pip passes over a folder that is not there
        places = [place if "://" in place else os.path.expanduser(place) for place in pip["find-links"].split()]  # noqa: PTH111
        there = [place for place in places if "://" in place or Path(place).exists()]
        variables["UV_FIND_LINKS"] = ",".join(there)
    if pip.get("keyring-provider") == "subprocess":
        variables["UV_KEYRING_PROVIDER"] = "subprocess"
    kept = {name: value for name, value in variables.items() if name not in os.environ}
    no_index = {"no-index": True} if pip.get("no-index", "").lower() in TRUE else {}
    return Reach(kept | reach.variables, no_index | reach.config)


def find_uv(clean: Variables, pip: Variables) -> str:
    """The user's uv where it can read the lock, else a private one, which pip installs as the lock pins it."""
    oldest = read_toml(Path("pyproject.toml"))["tool"]["uv"]["required-version"]
    for uv in (shutil.which("uv"), ".uv/bin/uv"):
        if uv and version(run_quietly([uv, "--version"], clean)) >= version(oldest):
            return uv
    pinned = next(each for each in read_toml(Path("uv.lock"))["package"] if each["name"] == "uv")
    print(f"installing uv {pinned['version']} into .uv", flush=True)
    shutil.rmtree(".uv", ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", ".uv"], check=False, env=clean, capture_output=True).returncode:
        raise Refused(
            f"{sys.executable} cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install"
            " python3-venv), or install uv"
        )
    hashes = " ".join(f"--hash={wheel['hash']}" for wheel in pinned["wheels"])
    Path(".uv/requirements.txt").write_text(f"uv=={pinned['version']} {hashes}\n", encoding="utf-8")
    options = {f"PIP_{option.upper().replace('-', '_')}": value for option, value in pip.items()}
    exactly = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", ".uv/requirements.txt"]
    only = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run([".uv/bin/python", "-m", "pip", "install", "--quiet", *exactly], clean | options | only)
    return ".uv/bin/uv"


def version(text: str) -> list[int]:
    """The first version in a text; an empty list, older than any, where there is none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return [int(part) for part in found[0].split(".")] if found else []


def of_lock(lock: Table, reach: Reach) -> Reach:
    """Of the lock's own indexes, none of which is asked: so uv judges the lock by what it pins alone."""
    sources = (each["source"].get("registry") for each in lock["package"])
    indexes = list(dict.fromkeys(source for source in sources if source))
    cache = {name: value for name, value in reach.variables.items() if name in ("UV_CACHE_DIR", "UV_NO_CACHE")}
    variables = cache | {
        "UV_OFFLINE": "1",
        "UV_DEFAULT_INDEX": " ".join(indexes[:1]),
        "UV_INDEX": " ".join(indexes[1:]),
    }
    return Reach(variables, {key: value for key, value in reach.config.items() if key in ("cache-dir", "no-cache")})


def read_lock(uv: str, project: Path, part: list[str], variables: Variables) -> str:
    """What the lock pins, as requirements with hashes."""
    asked = ["--quiet", "--project", str(project), "--python", sys.executable]
    requirements = run([uv, "export", "--frozen", "--no-header", "--no-annotate", *asked, *part], variables)
    if subprocess.run([uv, "lock", "--check", *asked], check=False, env=variables, capture_output=True).returncode:
        raise Refused(
            f"{project / 'uv.lock'} does not fit {project / 'pyproject.toml'}: run `uv lock`, and commit both"
        )
    return requirements


def made_with_this_python(place: Path) -> bool:
    told = run_quietly([str(place / "bin" / "python"), "-I", "-c", "import sys; print(sys.version, sys.base_prefix)"])
    return told == f"{sys.version} {sys.base_prefix}\n"


def install(sync: list[str], clean: Variables, reach: Reach, config: Path) -> None:
    """As the user's settings say; where that fails, from the default index alone.

    What an additional index has of a package is all that uv looks at, and need not be what the lock pins.
    """
    words = []
    alone = reach.without_extra()
    for each in [reach] if alone == reach else [reach, alone]:
        variables = clean | each.handed_on(config)
        done = subprocess.run(sync, check=False, env=variables, stderr=subprocess.PIPE, text=True)
        if not done.returncode:
            return
        words.append(done.stderr)
    sys.stderr.write(words[0])
    raise Refused("the locked packages could not be installed, see above; docs/install.md says which index is asked")


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def run(command: list[str], variables: Variables) -> str:
    """Output of a command that must do what it is asked; its errors are shown."""
    done = subprocess.run(command, check=False, env=variables, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Refused(f"`{' '.join(command[:3])} ...` failed, see above")
    return done.stdout


def run_quietly(command: list[str], variables: Variables | None = None) -> str:
    """Output of a command; empty where it is not there or fails."""
    try:
        done = subprocess.run(command, check=False, env=variables, capture_output=True, text=True)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refused as refused:
        sys.exit(f"{sys.argv[1]} was not made: {refused}")
    except KeyboardInterrupt:
        sys.exit(130)
