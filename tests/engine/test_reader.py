"""The reader of a stack's configuration, held against the engine that hands it to the program."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from hourbank.errors import HourBankError
from hourbank.program.configuration import read_stack
from tests.helpers.waiting import ENDLESS_SECONDS

pytestmark = pytest.mark.engine

# an example takes the engine a third of a second: what fails is shown as it was found
searched = settings(
    max_examples=40, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
PROJECT = "name: hourbank\nruntime: python\n"


@dataclass
class Bench:
    """A folder with a stack, and one secret as the engine encrypted it."""

    folder: Path
    environment: dict[str, str] = field(repr=False)
    salt: str = ""
    secret: str = ""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(os.environ["PULUMI_ENGINE"]).absolute(), "--cwd", self.folder, "--non-interactive", *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ENDLESS_SECONDS,
            check=False,
        )

    def write(self, project: str, stack: str) -> None:
        (self.folder / "Pulumi.yaml").write_text(PROJECT + project, encoding="utf-8")
        (self.folder / "Pulumi.dev.yaml").write_text(stack + self.salt, encoding="utf-8")

    def both_say(self, project: str, stack: str) -> None:
        """The reader says what the engine says; where it refuses, the engine does."""
        self.write(project, stack)
        try:
            found = read_stack("dev", self.folder)
        except HourBankError:
            found = None
        # afterwards: the engine may write the file anew
        done = self.run("config", "--json", "--stack", "dev")
        files = (PROJECT + project, stack, done.stderr)
        if done.returncode:
            return
        assert found is not None, files
        said = json.loads(done.stdout)
        plain = {key: one["value"] for key, one in said.items() if not one["secret"]}
        assert dict(found.values) == plain, files
        assert set(found.unknown) == said.keys() - plain.keys(), files


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder, state = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("state")
    environment = os.environ | {
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "TZ": "UTC",  # the engine prints an offset that is the machine's own by its name
    }
    made = Bench(folder, environment)
    made.write("", "")
    for command in (["stack", "init", "dev"], ["config", "set", "--secret", "topic", "arn", "--stack", "dev"]):
        done = made.run(*command)
        assert done.returncode == 0, done.stderr
    written = yaml.safe_load((folder / "Pulumi.dev.yaml").read_text())
    made.salt = f"encryptionsalt: {written['encryptionsalt']}\n"
    made.secret = f"{{secure: {written['config']['hourbank:topic']['secure']}}}"
    return made


def is_plain(text: str) -> bool:
    """Whether a text can stand in a flow without quotes, and is one scalar there."""
    try:
        return yaml.safe_load(f"[{text}, x]") is not None and len(yaml.compose(f"[{text}, x]").value) == 2
    except (yaml.YAMLError, ValueError):
        return False


numbers = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"[-+]?(0[xXoObB]?)?[0-9a-fA-F_]{1,8}", fullmatch=True),
    st.from_regex(r"[-+]?[0-9_]{0,4}\.?[0-9]{0,4}([eE][-+]?[0-9]{1,2})?", fullmatch=True),
)
DAY, CLOCK = r"(19|20)[0-9]{2}-[0-9]{1,2}-[0-9]{1,2}", r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
times = st.from_regex(rf"{DAY}([Tt ]{CLOCK}(Z|[-+][0-9]{{2}}:[0-9]{{2}})?)?", fullmatch=True)
words = st.sampled_from(
    [*("yes", "no", "On", "y", "true", "True", "FALSE", "null", "~", "Null", "1:30", "1:30:00", "=", "NONE", "none")]
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=12)
scalars = st.one_of(numbers, times, words, st.from_regex(r"[A-Za-z0-9_./ -]{1,12}", fullmatch=True)).filter(is_plain)
quoted = texts.map(json.dumps) | scalars.map(lambda text: f"'{text}'") | scalars.map(lambda text: f"!!str {text}")
secret = st.just("SECRET")


def flow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    keys = st.sampled_from(["a", "b", "escrow", "'5'", "7", "true", "z z"])
    maps = st.dictionaries(keys, inner, max_size=3).map(
        lambda made: "{" + ", ".join(f"{key}: {item}" for key, item in made.items()) + "}"
    )
    return maps | st.lists(inner, max_size=3).map(lambda made: f"[{', '.join(made)}]")


values = st.recursive(scalars | quoted | secret, flow, max_leaves=6)
plain_values = scalars.filter(lambda text: not text[:4].isdigit()) | quoted
keys = st.sampled_from(
    [
        *("hourbank:tables", "hourbank:alarmTopicArn", "hourbank:startRequestsFrom", "logRetentionDays"),
        *("aws:region", "aws:config:profile", "aws:defaultTags", "datadog:apiKey", "hourbank:config:amplifyEnv"),
    ]
)
declarations = st.one_of(
    plain_values,
    plain_values.map(lambda text: f"{{value: {text}}}"),
    plain_values.map(lambda text: f"{{default: {text}, description: x}}"),
)


def lines(made: dict[str, str], secret: str) -> str:
    inner = "".join(f"  {key}: {item.replace('SECRET', secret)}\n" for key, item in made.items())
    return f"config:\n{inner}" if made else ""


@searched
@example(stack={"aws:region": "4.328155591212279e+16", "hourbank:tables": "{a: 1e-7, b: 0.00001, c: -0.0}"})
@given(stack=st.dictionaries(keys, values, min_size=1, max_size=9))
def test_a_stacks_file_is_read_as_the_engine_reads_it(bench: Bench, stack: dict[str, str]) -> None:
    bench.both_say("", lines(stack, bench.secret))


@searched
@given(project=st.dictionaries(keys, declarations, max_size=5), stack=st.dictionaries(keys, values, max_size=2))
def test_so_is_what_the_project_sets(bench: Bench, project: dict[str, str], stack: dict[str, str]) -> None:
    bench.both_say(lines(project, bench.secret), lines(stack, bench.secret))


@pytest.mark.parametrize(
    "stack",
    [
        "config:\n  hourbank:a: &x {k: 1}\n  hourbank:b: *x\n  hourbank:c: {<<: *x, z: 2}\n",
        "config:\n  hourbank:a: |\n    two\n    lines\n  hourbank:b: >-\n    one\n    line\n",
        "config:\n  hourbank:a: !mine 5\n  hourbank:b: !!binary aGVsbG8=\n",
        "config:\n  hourbank:a: x\n  hourbank:a: y\n",
        "config:\n  - a\n",
        "\ufeffconfig:\n  hourbank:a: x\n",
        "config:\r\n  hourbank:a: x\r\n",
        "config:\n",
        "",
        "config:\n  hourbank:a: .inf\n",
        "config:\n  hourbank:a: {secure: 5}\n  hourbank:b: {secure: x, other: y}\n",
    ],
)
def test_and_the_rest_of_yaml(bench: Bench, stack: str) -> None:
    bench.both_say("", stack)


@pytest.mark.parametrize("where", ["stackConfigDir: stacks", "config: stacks"])
def test_the_stacks_files_may_be_in_a_folder_of_their_own(bench: Bench, where: str) -> None:
    bench.write(f"{where}\n", "")
    (bench.folder / "stacks").mkdir(exist_ok=True)
    (bench.folder / "stacks" / "Pulumi.dev.yaml").write_text(f"config: {{hourbank:days: 0x10}}\n{bench.salt}")
    done = bench.run("config", "--json", "--stack", "dev")
    assert json.loads(done.stdout)["hourbank:days"]["value"] == "16"
    assert read_stack("dev", bench.folder).values == {"hourbank:days": "16"}
