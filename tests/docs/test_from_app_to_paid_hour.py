"""The page from an app to the first paid hour, followed in a copy of the sample app as far as there is no cloud.

What stands in `sh` fences is run in the app's folder. A `ts` fence is the file that the words before it name. What
stands indented runs for ever, or needs a registry or an account: it is looked at.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hourbank import laws
from hourbank.cli import app as hourbank
from hourbank.local import deploy
from hourbank.local.emulator import Emulator
from hourbank.local.machine import REGION
from hourbank.local.tables import read_ledger
from hourbank.names import ROOT
from tests.helpers.pages import blocks
from tests.helpers.verifying import environment
from tests.helpers.waiting import until
from tests.helpers.world import CONFIG

PAGE = (ROOT / "docs" / "app" / "from-app-to-paid-hour.md").read_text(encoding="utf-8")
APP = ROOT / "examples" / "app"
BLOCKS = list(blocks(PAGE))
TYPED = [line.strip() for line in re.findall(r"^ {4}(\S.*)$", PAGE, re.MULTILINE)]


def test_every_fence_of_the_page_is_followed() -> None:
    assert len(BLOCKS) == len(re.findall("^```", PAGE, re.MULTILINE)) / 2
    assert [block.kind for block in BLOCKS] == ["sh", "sh", "sh", "ts", "sh", "ts"]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the sample app, with the backend that the page's commands make."""
    app = tmp_path / "examples" / "app"
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=APP, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(APP / name, app / name)
    for name in (".venv", "amplify", "Makefile", "pyproject.toml", "uv.lock", "tools", "frontend"):
        (tmp_path / name).symlink_to(ROOT / name)
    typed = "".join(block.text for block in BLOCKS if block.kind == "sh")
    told = subprocess.run(["sh", "-ec", typed], cwd=app, check=True, capture_output=True, text=True).stdout
    assert "has to call addWorkflows" not in told, "the backend does call it"
    return app


@pytest.mark.thorough
def test_the_commands_make_the_backend_of_the_sample_app(app: Path) -> None:
    assert (app / "amplify/data/resource.ts").read_bytes() == (ROOT / "amplify/data-resource.ts").read_bytes()
    for file in (app / "amplify").rglob("*.ts"):
        for name in re.findall(r"^import .*from '(\./[^']+)'", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert (file.parent / name.removesuffix(".js")).with_suffix(".ts").is_file(), f"{file.name} imports {name}"


def test_the_files_on_the_page_are_the_sample_apps() -> None:
    for block in BLOCKS:
        if block.kind == "ts":
            code = (APP / block.file).read_text(encoding="utf-8")
            assert re.sub(r"^//.*\n", "", code, flags=re.MULTILINE) == block.text


def test_amplifys_packages_are_those_that_read_the_backend() -> None:
    read = json.loads((ROOT / "tools/amplify/package.json").read_text(encoding="utf-8"))["dependencies"]
    named = dict(re.findall(r"(@?[\w/-]+)@(\d[\d.]*)", " ".join(TYPED)))
    assert named.pop("@aws-amplify/backend-cli")
    assert named == {name: read[name] for name in named}
    assert set(named) >= {"@aws-amplify/backend", "aws-cdk-lib", "constructs", "@aws-sdk/client-lambda", "esbuild"}


def test_what_is_copied_into_an_app_without_a_frontend_is_there() -> None:
    (sentence,) = re.findall(r"takes the sample's: copy (.*?), take over", PAGE, re.DOTALL)
    names = re.findall(r"`([\w.-]+)`", sentence)
    assert "src" in names
    assert [name for name in names if not (APP / name).exists()] == []
    state = re.search(r"process\.env\[.(\w+).\]", (APP / "vite.config.ts").read_text(encoding="utf-8"))
    assert state and f'`{state[1]}="$HOURBANK/.hourbank" npm start`' in PAGE


def test_what_is_typed_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    scripts = json.loads((APP / "package.json").read_text(encoding="utf-8"))["scripts"]
    typed = " ".join([*TYPED, *re.findall(r"`((?:make|npm|hourbank) [^`]+)`", PAGE)])
    targets = re.findall(r"make (?:-C \S+ )?([\w-]+)", typed)
    assert {"up", "sample", "frontend"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}\b.*:", makefile, re.MULTILINE), f"make {target}"
    for script in re.findall(r"npm run (\w+)", typed):
        assert script in scripts
    # `make sample` is what packs and installs the package, as the page says to
    assert "pack --pack-destination" in makefile
    assert "install --no-save ./hourbank-frontend-*.tgz" in makefile


def test_the_operators_commands_take_these_options() -> None:
    commands = re.findall(r"`hourbank ([^`]+)`", PAGE)
    assert len(commands) == 2
    for command in commands:
        name, *words = shlex.split(command)
        told = CliRunner().invoke(hourbank, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in told, f"hourbank {name} has no {option}"


def test_the_sample_app_is_small_and_pinned() -> None:
    lines = [line for file in (APP / "src").glob("*.ts*") for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) < 300
    package = json.loads((APP / "package.json").read_text(encoding="utf-8"))
    versions = package["dependencies"] | package["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    frontend = json.loads((ROOT / "frontend/package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert {name: frontend[name] for name in versions if name in frontend} == {
        name: version for name, version in versions.items() if name in frontend
    }


SIGN_UP_TWICE = """
const { handler } = await import(process.argv[1]);
const event = { triggerSource: 'PostConfirmation_ConfirmSignUp', request: { userAttributes: { sub: 'sub-of-ana' } } };
await handler(event, {}, () => {});
await handler(event, {}, () => {});
// a timer that Amplify puts into each bundle would keep this process
process.exit(0);
"""


@pytest.mark.thorough
@pytest.mark.xdist_group("first-hours")
@pytest.mark.skipif(
    not (ROOT / "tools/amplify/node_modules/.locked").exists() and not os.environ.get("CI"),
    reason="Amplify's packages are not here: make packages-of-tests installs them, where Node is",
)
def test_who_signs_up_has_ten_hours_however_often_cognito_calls_the_bundle(app: Path, tmp_path: Path) -> None:
    (app / "node_modules").symlink_to(ROOT / "tools/amplify/node_modules")
    put_together = ["node", str(ROOT / "tools/amplify/bundle.mjs"), str(app)]
    bundle = subprocess.run(put_together, capture_output=True, text=True, check=True).stdout.strip()
    with Emulator() as emulator:
        meter = tmp_path / "meter.jsonl"
        deployment = deploy.deploy(emulator, config=CONFIG, meter=meter)
        run = ["node", "--input-type=module", "--eval", SIGN_UP_TWICE, bundle]
        variables = environment(emulator) | {"AWS_REGION": REGION}
        variables["GRANT_HOURS_FUNCTION"] = f"hourbank-grantHours-{deploy.STACK}"
        told = subprocess.run(run, env=os.environ | variables, capture_output=True, text=True, check=True)
        assert "no first hours" not in told.stderr

        def both() -> bool:
            return (
                sum("grantHours" in line for line in meter.read_text().splitlines()) == 2 if meter.exists() else False
            )

        until(both, what="both grants")
        ledger = read_ledger(emulator.client("dynamodb"), deployment.tables)
    assert ledger.spendable() == {"sub-of-ana": Decimal(10)}
    assert [entry["reason"] for entry in ledger.log.values()] == ["welcome"]
    assert laws.hours_lost(ledger) == laws.grants_out_of_place(ledger) == []
