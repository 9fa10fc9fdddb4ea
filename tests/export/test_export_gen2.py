"""The export for Amplify Gen 2; `make check` synthesises it in a backend with Amplify's own packages."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hourbank.cli import app
from hourbank.errors import HourBankError
from hourbank.export import gen2, parameterised
from hourbank.names import ROOT
from tests.helpers.recordings import called_versions, exports_recorded_once  # noqa: F401

FILES = ("hourbank-functions.zip", "resource.ts", "template.json")


@pytest.fixture
def amplify(tmp_path: Path) -> Path:
    amplify = tmp_path / "amplify"
    amplify.mkdir()
    (amplify / "backend.ts").touch()
    return amplify


def run(into: Path) -> str:
    result = CliRunner().invoke(app, ["export", "amplify-gen2", "--into", str(into)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(into: Path) -> str:
    result = CliRunner().invoke(app, ["export", "amplify-gen2", "--into", str(into)])
    assert isinstance(result.exception, HourBankError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_every_resource_of_the_program_is_there_and_a_second_export_is_the_same(amplify: Path) -> None:
    said = run(amplify)
    first = {name: (amplify / "workflows" / name).read_bytes() for name in FILES}
    run(amplify)
    assert {path.name: path.read_bytes() for path in (amplify / "workflows").iterdir()} == first
    recording = parameterised.record("amplify")
    made = json.loads(first["template.json"])
    assert set(made["Resources"]) == {
        *(resource.logical_id for resource in recording.resources),
        *called_versions(recording),
    }
    assert f"{len(made['Resources'])} resources" in said
    assert "left out: " in said and ", table checks (why: " in said


def test_a_backend_that_calls_the_workflows_is_not_told_to(amplify: Path) -> None:
    (amplify / "backend.ts").write_text("defineBackend({ data });\n")
    assert f"{amplify / 'backend.ts'} has to call addWorkflows" in run(amplify)
    (amplify / "backend.ts").write_text("addWorkflows(defineBackend({ data }), { environment: 'dev' });\n")
    assert "has to call addWorkflows" not in run(amplify)


def test_the_typescript_gives_every_parameter_a_value(amplify: Path) -> None:
    run(amplify)
    parameters = json.loads((amplify / "workflows/template.json").read_text(encoding="utf-8"))["Parameters"]
    source = (amplify / "workflows/resource.ts").read_text(encoding="utf-8")
    given = re.findall(r"^    (\w+): ", source.split("const given")[1].split("};")[0], re.MULTILINE)
    assert sorted(given) == sorted(parameters)
    # an environment that is undefined is refused
    assert "Default" not in parameters["Environment"]
    documented = re.findall(r"by default (\d+)\. \*/\n  (\w+)\?", source)
    assert len(documented) == 4
    for default, option in documented:
        assert parameters[option[0].upper() + option[1:]]["Default"] == int(default)


def test_a_name_that_is_known_later_is_never_in_the_text_of_a_sub(amplify: Path) -> None:
    later = {*parameterised.TABLE_NAMES.values(), parameterised.STREAM_ARN}
    found = 0

    def look(value: object) -> None:
        nonlocal found
        if isinstance(value, dict):
            if "Fn::Sub" in value:
                text, beside = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
                named = set(re.findall(r"\$\{(\w+)\}", text)) & later
                assert named <= beside.keys()
                found += len(named)
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                look(item)

    look(gen2.template()["Resources"])
    assert found


DATA = (ROOT / "amplify" / "data-resource.ts").read_text(encoding="utf-8")


def remarks(amplify: Path, data: str) -> list[str]:
    (amplify / "data").mkdir()
    (amplify / "data" / "resource.ts").write_text(data, encoding="utf-8-sig")
    return [line.removeprefix("! ") for line in run(amplify).splitlines() if line.startswith("! ")]


def test_the_models_of_docs_app_schema_are_as_they_must_be(amplify: Path) -> None:
    assert remarks(amplify, DATA) == []


def test_what_the_backend_s_data_lacks_is_said(amplify: Path) -> None:
    data = DATA.replace("offeredHours: ", "offered: ").replace("Escrow: a\n", "// Escrow: a.model(\n  Deposit: a\n")
    data = data.replace("serviceId: a", "taskToken: a.string(), serviceId: a").replace(".identifier(['userId'])", "")
    assert [line.removeprefix(str(amplify)).lstrip(": ") for line in remarks(amplify, data)] == [
        "ServiceRequest has no offeredHours: add what is missing (docs/app/schema.md)",
        "ServiceRequest shows taskToken: remove it from the schema: whoever reads it can answer for anybody",
        "has no model Escrow, which addWorkflows refuses: add it (docs/app/schema.md)",
        "the key of UserBalance is id: the workflows need userId alone; check .identifier",
    ]


def test_data_that_is_written_otherwise_is_not_looked_at(amplify: Path) -> None:
    (said,) = remarks(amplify, "export const data = defineData({ schema: load('schema.graphql') });")
    assert said.endswith("so nobody looked whether the models are those of docs/app/schema.md")


def test_what_cannot_be_read_is_named_and_what_has_no_end_is_looked_at_once(amplify: Path) -> None:
    (amplify / "folder.ts").mkdir()
    (amplify / "link.ts").symlink_to("nowhere")
    assert remarks(amplify, DATA + "/* " * 100_000) == []
    (amplify / "data" / "more.ts").write_bytes(b"// \xe4")
    (said,) = [line for line in run(amplify).splitlines() if line.startswith("!")]
    assert said.startswith(f"! {amplify / 'data' / 'more.ts'} cannot be read (it is not UTF-8), so nobody looked")


def test_a_wrong_folder_and_somebody_s_file_are_left_alone(amplify: Path) -> None:
    assert f"did you mean {amplify}?" in refused(amplify.parent)
    assert "no backend.ts" in refused(amplify / "data")
    gen1 = amplify.parent / "gen1" / "amplify" / "backend"
    gen1.mkdir(parents=True)
    (gen1 / "backend-config.json").touch()
    for folder in (gen1, gen1.parent, gen1.parent.parent):
        assert f"use `hourbank export amplify --into {gen1}`" in refused(folder)
    run(amplify)
    own = amplify / "workflows" / "resource.ts"
    own.write_text("// mine\n")
    assert "was not written by this command: move it away, the name is fixed" in refused(amplify)
    assert own.read_text() == "// mine\n"


def test_the_page_shows_what_make_check_synthesises() -> None:
    shown = (ROOT / "docs/deploy/amplify-gen2.md").read_text(encoding="utf-8").split("```ts\n")[1].split("```")[0]
    checked = (ROOT / "tools/amplify/gen2/backend.ts").read_text(encoding="utf-8")
    assert shown == checked.split("\n", 1)[1].replace(".js';", "';")
