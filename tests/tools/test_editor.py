"""What editors are told of the project is what it is: ports, versions, commands."""

import json
import re
from typing import Any

from hourbank.local.develop import debugger
from hourbank.local.page import server
from hourbank.names import ROOT


def told(name: str) -> dict[str, Any]:
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


def test_vs_code_attaches_where_a_run_listens() -> None:
    (attach,) = told(".vscode/launch.json")["configurations"]
    assert (attach["type"], attach["request"]) == ("debugpy", "attach")
    assert attach["connect"] == {"host": "127.0.0.1", "port": debugger.PORT}
    # functions are processes of their own
    assert attach["subProcess"] is True


def test_a_container_has_what_the_commands_need() -> None:
    container = told(".devcontainer/devcontainer.json")
    python = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:(3\.\d+)-bookworm", container["image"])
    assert python
    assert f'requires-python = ">={python[1]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    node = container["features"]["ghcr.io/devcontainers/features/node:1"]["version"]
    assert node == (ROOT / ".nvmrc").read_text(encoding="utf-8").strip()
    # the page's, and Vite's own, which the sample app has: https://vite.dev/config/server-options#server-port
    assert container["forwardPorts"] == [server.PORT, 5173]
    assert container["portsAttributes"].keys() == {str(port) for port in container["forwardPorts"]}
    assert "port:" not in (ROOT / "examples" / "app" / "vite.config.ts").read_text(encoding="utf-8")
    make, *targets = container["postCreateCommand"].split()
    assert make == "make"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in targets if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)] == []
