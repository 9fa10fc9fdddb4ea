"""What `make` installs with npm: what the lock pins, from any registry, whatever else the user's npm is set to."""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hourbank.names import ROOT


def locks() -> Iterator[Path]:
    """The project's own; what is installed has thousands of folders."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name != "node_modules" and not name.startswith("."))
        if "package-lock.json" in files:
            yield Path(folder, "package-lock.json")


LOCKS = list(locks())
# without Node, make builds and tests no browser's side either
needs_node = pytest.mark.skipif(not shutil.which("npm") and not os.environ.get("CI"), reason="Node is not here")

# each alone leaves a package out, puts one elsewhere, or lets nothing be installed or run
SETTINGS = {
    "omit": "dev\n\noptional\n\npeer",
    "only": "production",
    "production": "true",
    "optional": "false",
    "legacy-peer-deps": "true",
    "os": "sunos",
    "cpu": "mips",
    "libc": "other",
    "min-release-age": "36500",
    "engine-strict": "true",
    "global": "true",
    "location": "global",
    "prefix": "/nowhere",
    "install-strategy": "linked",
    "package-lock": "false",
    "package-lock-only": "true",
    "dry-run": "true",
    "bin-links": "false",
    "workspaces": "true",
    "ignore-scripts": "true",
    "script-shell": "/nowhere/sh",
    "node-options": "--no-such-option",
    "replace-registry-host": "never",
}
PACKAGES: dict[str, dict[str, Any]] = {
    "tool": {"bin": {"tool": "run.js"}, "dependencies": {"deep": "1.0.0"}, "peerDependencies": {"peer": "1.0.0"}},
    "deep": {"engines": {"node": ">=99"}},
    "peer": {},
    "native": {"os": ["linux", "darwin", "win32"], "cpu": ["x64", "arm64"], "libc": ["glibc", "musl"]},
}


@dataclass
class Registry:
    """A mirror with a path of its own, whose files have an address of their own."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    archives: dict[str, bytes] = field(default_factory=dict)


def archive(name: str, note: str = "") -> bytes:
    files = {
        "package.json": json.dumps({"name": name, "version": "1.0.0", **PACKAGES[name]}),
        "run.js": f"#!/usr/bin/env node\nconsole.log('the tool ran {note}');\n",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for file, text in files.items():
            entry = tarfile.TarInfo(f"package/{file}")
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


@pytest.fixture
def registry() -> Iterator[Registry]:
    served = Registry(archives={name: archive(name) for name in PACKAGES})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            *folder, name = self.path.removesuffix(".tgz").split("/")
            data = served.archives.get(name)
            if data is None:
                self.send_error(404)
                return
            if folder[-1] != "files":
                dist = {
                    "tarball": f"http://127.0.0.1:{files.server_port}/files/{name}.tgz",
                    "integrity": integrity(data),
                }
                version = {"name": name, "version": "1.0.0", **PACKAGES[name], "dist": dist}
                packument = {
                    "name": name,
                    "dist-tags": {"latest": "1.0.0"},
                    "versions": {"1.0.0": version, "2.0.0": version | {"version": "2.0.0"}},
                }
                data = json.dumps(packument | {"time": {"1.0.0": "2026-01-01T00:00:00.000Z"}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ExitStack() as stack:
        index, files = (stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) for _ in range(2))
        for server in (index, files):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        served.address = f"http://127.0.0.1:{index.server_port}/artifacts/npm-all/"
        yield served


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in miniature with the Makefile of this one, and a home beside it."""
    folder = tmp_path / "project"
    for part in ("frontend/src", "frontend/angular", "frontend/react", "frontend/console", "examples/app"):
        (folder / part).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    wanted = {"devDependencies": {"tool": "1.0.0"}, "optionalDependencies": {"native": "1.0.0"}}
    kinds = {"tool": {"dev": True}, "deep": {"dev": True}, "peer": {"dev": True, "peer": True}}
    locked = {
        f"node_modules/{name}": {"version": "1.0.0", "integrity": integrity(archive(name)), **PACKAGES[name]}
        | kinds.get(name, {"optional": True})
        for name in PACKAGES
    }
    package = {"name": "hourbank-frontend", "version": "1.0.0"}
    scripts = {"build": "tool && echo built", "check": "tool", "test": "echo in ${NODE_ENV-no} environment"}
    write(folder / "frontend/package.json", {**package, "scripts": scripts, **wanted})
    lock = {**package, "lockfileVersion": 3, "packages": {"": {**package, **wanted}} | locked}
    write(folder / "frontend/package-lock.json", lock)
    app = {"name": "app", "version": "1.0.0", "dependencies": {"peer": "1.0.0"}}
    beside = "node --print 'require(`hourbank-frontend/package.json`).name + ` is in the app`'"
    write(folder / "examples/app/package.json", {**app, "scripts": {"check": beside}})
    packages = {"": app, "node_modules/peer": {"version": "1.0.0", "integrity": integrity(archive("peer"))}}
    write(folder / "examples/app/package-lock.json", {**app, "lockfileVersion": 3, "packages": packages})
    (tmp_path / "home").mkdir()
    return folder


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def make(project: Path, rc: str, **variables: str) -> subprocess.CompletedProcess[str]:
    home = project.parent / "home"
    (home / ".npmrc").write_text(rc, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.lower().startswith("npm_config_")}
    environment = {**kept, "HOME": str(home), "npm_config_cache": str(home / "cache"), **variables}
    return subprocess.run(
        ["make", "--silent", "test-frontend"], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def assert_whole(project: Path, registry: Registry, ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 0, ended.stderr
    modules = project / "frontend/node_modules"
    assert {path.name for path in modules.iterdir() if path.is_dir() and path.name[0] != "."} == set(PACKAGES)
    assert not any(path.is_symlink() for path in modules.iterdir())
    assert ended.stdout.count("the tool ran") == 2
    assert "built\n" in ended.stdout
    assert "hourbank-frontend is in the app\n" in ended.stdout
    assert {f"/files/{name}.tgz" for name in PACKAGES} <= set(registry.asked)


@pytest.mark.thorough
@needs_node
def test_any_registry_gives_what_the_lock_pins_and_no_setting_takes_away(project: Path, registry: Registry) -> None:
    lines = "".join(
        f"{name}[]={one}\n" if "\n" in value else f"{name}={value}\n"
        for name, value in SETTINGS.items()
        for one in value.split("\n\n")
    )
    assert_whole(project, registry, make(project, f"registry={registry.address}\n{lines}", NODE_ENV="production"))


@pytest.mark.thorough
@needs_node
def test_nor_does_a_variable(project: Path, registry: Registry) -> None:
    variables = {f"npm_config_{name.replace('-', '_')}": value for name, value in SETTINGS.items()}
    assert_whole(project, registry, make(project, "", npm_config_registry=registry.address, **variables))


@pytest.mark.thorough
@needs_node
def test_what_is_built_is_the_same_in_every_environment(project: Path, registry: Registry) -> None:
    ended = make(project, f"registry={registry.address}\n", NODE_ENV="development")
    assert ended.stdout.endswith("in no environment\n"), ended.stderr


@pytest.mark.thorough
@needs_node
def test_another_file_than_the_locked_one_is_refused(project: Path, registry: Registry) -> None:
    registry.archives["deep"] = archive("deep", "and did harm")
    ended = make(project, f"registry={registry.address}\n")
    assert ended.returncode != 0
    assert "EINTEGRITY" in ended.stderr
    assert not (project / "frontend/node_modules/.locked").exists()


@pytest.mark.thorough
@needs_node
def test_a_stale_lock_is_refused(project: Path, registry: Registry) -> None:
    manifest = project / "frontend/package.json"
    write(manifest, json.loads(manifest.read_text(encoding="utf-8")) | {"dependencies": {"peer": "2.0.0"}})
    ended = make(project, f"registry={registry.address}\n")
    assert ended.returncode != 0
    assert "package.json and package-lock.json or npm-shrinkwrap.json are in sync" in ended.stderr


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_a_lock_names_no_registry_and_has_the_hash_of_every_file(path: Path) -> None:
    packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
    del packages[""]
    assert packages
    # what another package has in its own archive has that one's hash
    assert [name for name, locked in packages.items() if not {"integrity", "inBundle"} & locked.keys()] == []
    assert [name for name, locked in packages.items() if {"resolved", "link"} & locked.keys()] == []
    manifest = json.loads((path.parent / "package.json").read_text(encoding="utf-8"))
    for kind in ("dependencies", "devDependencies"):
        for name, version in manifest.get(kind, {}).items():
            assert packages[f"node_modules/{name}"]["version"] == version
