"""What Pulumi.yaml and a stack's file set, read as the engine reads it; tests/engine holds that against the engine.

Write one here when the engine takes a form that the reader does not.
"""

import json
import re
import shutil
from pathlib import Path

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hourbank.account import adopt, doctor, stack
from hourbank.account.checks import Outcome
from hourbank.errors import HourBankError
from hourbank.export import parameterised
from hourbank.names import ROOT
from hourbank.program import configuration, go_yaml, recorder
from hourbank.program.configuration import read_stack, stack_config
from hourbank.review import plan, snapshot, versions

CIPHERTEXT = "v1:rd8+HLXtwTMNIZ5L:xHMReX6PrG5zxJA7V4Stp"
SECRET = f"{{secure: {CIPHERTEXT}}}"
NEEDED = 'hourbank:amplifyApiId: abc, hourbank:amplifyEnv: dev, hourbank:startRequestsFrom: "2026-01-01T00:00:00Z"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the program, which a test configures."""
    for name in ("components", "handlers", "workflows"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("__main__.py", "Pulumi.yaml", "pyproject.toml", "uv.lock"):
        shutil.copy2(ROOT / name, tmp_path)
    return tmp_path


def set_stack(folder: Path, values: str, more: str = "") -> None:
    (folder / "Pulumi.dev.yaml").write_text(f"config: {{{values}}}\n{more}")


def set_project(folder: Path, line: str) -> None:
    text = (folder / "Pulumi.yaml").read_text()
    (folder / "Pulumi.yaml").write_text(text.replace("\nconfig:\n", f"\nconfig:\n  {line}\n"))


# ---- what YAML means


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01 00:00:00 +0000 UTC"),
        ("2026-01-01", "2026-01-01 00:00:00 +0000 UTC"),
        ("2026-01-01T01:02:03.50+05:30", "2026-01-01 01:02:03.5 +0530 +0530"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("'2026-01-01'", "2026-01-01"),
        ("14", "14"),
        ("017", "15"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("089", "89"),
        ("1.10", "1.1"),
        ("1e30", "1e+30"),
        ("0.00001", "0.00001"),
        ("4.328155591212279e+16", "43281555912122790"),
        ("yes", "yes"),
        ("True", "true"),
        ("1:30", "1:30"),
        ("~", ""),
        ("{b: 2026-01-01, a: [1.0, '<', null]}", r'{"a":[1,"\u003c",null],"b":"2026-01-01 00:00:00 +0000 UTC"}'),
    ],
)
def test_a_scalar_is_what_it_is_to_the_engine(folder: Path, written: str, read: str) -> None:
    set_stack(folder, f"hourbank:x: {written}")
    assert read_stack("dev", folder).values["hourbank:x"] == read


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_it_is_the_same_number(value: float) -> None:
    assert float(go_yaml.number(value)) == value


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("logRetentionDays", "hourbank:logRetentionDays"),
        ("hourbank:config:logRetentionDays", "hourbank:logRetentionDays"),
        ("aws:config:region", "aws:region"),
        ("datadog:apiKey", "datadog:apiKey"),
    ],
)
def test_a_key_has_the_name_of_whose_it_is(folder: Path, key: str, full: str) -> None:
    set_stack(folder, f"{key}: x")
    assert read_stack("dev", folder).values[full] == "x"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_does_no_harm(folder: Path, encoding: str) -> None:
    (folder / "Pulumi.dev.yaml").write_bytes("config:\r\n  aws:region: eu-west-1\r\n".encode(encoding))
    assert read_stack("dev", folder).values["aws:region"] == "eu-west-1"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("config: {a: 1, a: 2}", "Pulumi.dev.yaml is no YAML (line 1: a is there twice): correct it"),
        ("config: {a: .inf}", "Pulumi.dev.yaml: hourbank:a is inf, which is no number: correct it"),
        ("config: [a]", "Pulumi.dev.yaml: config is not a map of keys and values: correct it"),
        ("config: {[a]: 1}", "a key is not a text"),
        ("a: b: c", "Pulumi.dev.yaml is no YAML (line 1"),
        ("x", "Pulumi.dev.yaml is not a map of keys and values: correct it"),
    ],
)
def test_what_the_engine_does_not_take_is_one_line(folder: Path, content: str, says: str) -> None:
    (folder / "Pulumi.dev.yaml").write_text(content)
    with pytest.raises(HourBankError) as caught:
        read_stack("dev", folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- what the project sets


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("aws:profile: default", "aws:profile", "default"),
        ("aws:region: eu-west-1", "aws:region", "eu-west-1"),
        ("aws:region: {value: eu-west-1}", "aws:region", "eu-west-1"),
        ("hourbank:x: {default: 5}", "hourbank:x", "5"),
        ("datadog:tags: {value: {a: [1]}}", "datadog:tags", '{"a":[1]}'),
    ],
)
def test_what_is_set_for_the_project_is_every_stacks_own(folder: Path, line: str, key: str, value: str) -> None:
    set_project(folder, line)
    assert stack_config("dev", folder)[key] == value
    set_stack(folder, f"{key}: other")
    assert stack_config("dev", folder)[key] == "other"


def test_what_the_project_sets_is_no_declaration(folder: Path) -> None:
    set_project(folder, "aws:profile: default\n  aws:region: {value: eu-west-1}")
    found = configuration.read_project(folder)
    assert found.declared.keys() == configuration.read_project(ROOT).declared.keys()
    assert found.values == {"aws:profile": "default", "aws:region": "eu-west-1"}


def test_the_stacks_files_may_be_in_a_folder_of_their_own(folder: Path) -> None:
    (folder / "Pulumi.yaml").write_text("name: hourbank\nstackConfigDir: stacks\n")
    (folder / "stacks").mkdir()
    (folder / "stacks" / "Pulumi.dev.yaml").write_text("config: {aws:region: eu-west-1}")
    assert stack_config("dev", folder) == {"aws:region": "eu-west-1"}


def test_a_time_without_quotes_is_refused_with_what_to_do(folder: Path) -> None:
    set_stack(folder, NEEDED.replace('"', ""))
    with pytest.raises(pulumi.RunError, match=r"is '2026-01-01 00:00:00 \+0000 UTC': put the time in quotes"):
        recorder.record("dev", tree=folder)


# ---- what only Pulumi can open


def test_a_secret_is_unknown_and_never_shown(folder: Path) -> None:
    set_stack(
        folder,
        f"{NEEDED}, hourbank:alarmTopicArn: {SECRET}, aws:profile: {SECRET}, "
        f"hourbank:tables: {{escrow: {SECRET}, userBalance: Mine}}",
    )
    found = read_stack("dev", folder)
    assert set(found.unknown) == {"hourbank:alarmTopicArn", "aws:profile", "hourbank:tables"}
    assert set(found.unknown.values()) == {"is a secret in Pulumi.dev.yaml"}
    assert json.loads(found.placeholders["hourbank:tables"]) == {"escrow": "unknown-escrow", "userBalance": "Mine"}
    assert CIPHERTEXT not in repr(found)
    recording = recorder.record("dev", tree=folder)
    assert CIPHERTEXT not in repr(recording)


@pytest.mark.parametrize("key", sorted(configuration.read_project(ROOT).declared))
def test_the_program_can_be_recorded_whatever_is_a_secret(folder: Path, key: str) -> None:
    values = dict(one.split(": ") for one in NEEDED.split(", "))
    # without which nobody can be mailed, whoever mails
    values |= {"hourbank:userPoolId": "eu-west-1_AbCdEfGhI"}
    values |= {"aws:region": "eu-west-1", f"hourbank:{key}": SECRET}
    set_stack(folder, ", ".join(f"{key}: {value}" for key, value in values.items()))
    assert recorder.record("dev", tree=folder).named("ServiceRequestWorkflow")


def test_what_comes_from_an_environment_is_unknown_too(folder: Path) -> None:
    set_stack(folder, "hourbank:amplifyEnv: dev", "environment: [acme/time-bank]\n")
    found = read_stack("dev", folder)
    where = "comes from acme/time-bank of Pulumi ESC, or from nowhere"
    assert found.unknown == {"hourbank:amplifyApiId": where, "hourbank:startRequestsFrom": where}
    assert recorder.record("dev", tree=folder).named("ServiceRequestWorkflow")


def test_all_tables_by_name_need_no_api_of_an_environment(folder: Path) -> None:
    tables = "{serviceRequest: Aaa, escrow: Bbb, userBalance: Ccc, transactionLog: Ddd}"
    set_stack(folder, f"hourbank:tables: {tables}", "environment: {imports: [a, {b: {merge: false}}]}\n")
    found = read_stack("dev", folder)
    assert (found.environments, list(found.unknown)) == (("a", "b"), ["hourbank:startRequestsFrom"])


def test_doctor_and_adopt_say_what_they_need_in_plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack.names, "ROOT", folder)
    set_stack(folder, NEEDED.replace("abc", SECRET))
    with pytest.raises(HourBankError) as caught:
        doctor.doctor(doctor.Console(), "acme/hourbank/dev", "eu-west-1")
    assert str(caught.value) == (
        "hourbank:amplifyApiId is a secret in Pulumi.dev.yaml, which only Pulumi can open: set it in plain, here it is "
        "needed (pulumi config set --plaintext amplifyApiId VALUE)"
    )
    set_stack(folder, NEEDED, "environment: [acme/time-bank]\n")
    with pytest.raises(HourBankError, match="appsyncEndpoint may come from acme/time-bank of Pulumi ESC"):
        adopt.write(folder / "adopt.json", "acme/dev", "eu-west-1")


def test_doctor_says_what_it_did_not_open(folder: Path) -> None:
    set_stack(folder, f"{NEEDED}, hourbank:alarmTopicArn: {SECRET}", "environment: [acme/time-bank]\n")
    checks = list(doctor.unopened(read_stack("dev", folder)))
    assert [(one.what, one.outcome) for one in checks] == [
        ("alarmTopicArn", Outcome.UNSEEN),
        ("environment", Outcome.UNSEEN),
    ]
    assert checks[0].found == "is a secret in Pulumi.dev.yaml, which only Pulumi can open"


def test_doctor_says_that_nothing_starts_yet() -> None:
    assert [one.outcome for one in doctor.not_yet("2099-01-01T00:00:00Z")] == [Outcome.NOTE]
    assert not list(doctor.not_yet("2026-01-01T00:00:00Z"))
    assert not list(doctor.not_yet(""))


def test_a_template_does_not_change_with_the_projects_own_configuration() -> None:
    ours = {f"hourbank:{key}" for key in configuration.read_project(ROOT).declared}
    # the two make names of tables, which are told in full
    assert ours - parameterised.CONFIG.keys() == {"hourbank:amplifyApiId", "hourbank:amplifyEnv"}


def test_a_snapshot_says_a_secret_in_place_of_what_is_handed_on(folder: Path) -> None:
    set_stack(folder, f"{NEEDED}, hourbank:alarmTopicArn: {SECRET}, hourbank:logRetentionDays: {SECRET}")
    words = versions.unknown_in("the files", folder, ["dev"])["dev"]
    recording = recorder.record("dev", tree=folder, settings=lambda read: snapshot.veiled(read, words))
    assert {one.inputs["retentionInDays"] for one in recording.of_type("LogGroup")} == {"a secret"}
    assert ["a secret"] in [one.inputs.get("alarmActions") for one in recording.of_type("MetricAlarm")]


@pytest.mark.thorough
def test_what_one_version_does_not_show_is_compared_in_neither(folder: Path) -> None:
    set_stack(folder, f"{NEEDED}, hourbank:logRetentionDays: 7")
    plain = versions.read("before", folder, {"dev": {}})
    set_stack(
        folder,
        f"{NEEDED.replace('abc', SECRET)}, hourbank:logRetentionDays: {SECRET}, hourbank:alarmTopicArn: {SECRET}",
    )
    unknown = versions.unknown_in("after", folder, ["dev"])
    after = versions.read("after", folder, unknown)
    set_stack(folder, f"{NEEDED}, hourbank:logRetentionDays: 7")
    before = versions.read("before", folder, unknown)
    assert plain.stacks["dev"].resources != before.stacks["dev"].resources
    text = plan.render(before, after, ["dev"])
    # a topic that was not there is something else than a topic that nobody can see
    assert re.findall(r"^  - `(\w+)`: (.*)$", text, re.MULTILINE) == [
        ("alarmActions", '`["a secret"]`, new'),
        ("okActions", '`["a secret"]`, new'),
    ]
    assert "another table" not in text
    assert "- `Pulumi.dev.yaml`, `hourbank:amplifyApiId`: `abc` → `a secret`\n" in text
    assert CIPHERTEXT not in text


@pytest.mark.thorough
def test_a_table_that_nobody_can_see_may_be_another(folder: Path) -> None:
    set_stack(folder, NEEDED)
    before = versions.read("before", folder, {"dev": {}})
    set_stack(folder, f"{NEEDED}, hourbank:tables: {{escrow: {SECRET}}}")
    after = versions.read("after", folder, versions.unknown_in("after", folder, ["dev"]))
    text = plan.render(before, after, ["dev"])
    assert "The function `createEscrow` may use another table" in text
    assert "uses another table" not in text


def test_a_version_whose_file_is_no_yaml_is_one_line(folder: Path) -> None:
    (folder / "Pulumi.dev.yaml").write_text("config: [")
    with pytest.raises(HourBankError, match=r"^after cannot be recorded: Pulumi\.dev\.yaml is no YAML"):
        versions.unknown_in("after", folder, ["dev"])
