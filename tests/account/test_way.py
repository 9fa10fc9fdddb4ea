"""A stack's own way to AWS: profile, roles and region of its configuration decide which account is asked."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import boto3
import pytest

from handlers.aws import dynamodb
from hourbank.account import stack, way
from hourbank.errors import HourBankError
from hourbank.local.emulator import Emulator
from hourbank.names import ROOT
from hourbank.program.configuration import read_stack
from tests.helpers.processes import HOURBANK

ROLE = "arn:aws:iam::222222222222:role/%s"
PROFILES = {
    "credentials": "[default]\naws_access_key_id = 111111111111\naws_secret_access_key = x\n"
    "[prod]\naws_access_key_id = 222222222222\naws_secret_access_key = x\n",
    "config": "[default]\nregion = us-west-2\n[profile prod]\nregion = us-west-1\n"
    "[profile console]\nlogin_session = arn:aws:iam::123456789012:user/me\n"
    "[profile sso]\nsso_session = my\nsso_account_id = 123456789012\nsso_role_name = x\n"
    "[sso-session my]\nsso_region = us-east-1\nsso_start_url = https://my.awsapps.com/start\n",
}


@pytest.fixture
def home(monkeypatch, tmp_path):
    """The home of somebody with profiles, whose environment says nothing of AWS."""
    (tmp_path / ".aws").mkdir()
    for name, text in PROFILES.items():
        (tmp_path / ".aws" / name).write_text(text)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    dynamodb.client.cache_clear()
    yield monkeypatch
    dynamodb.client.cache_clear()


def follow(tmp_path, option: str | None = None, **config) -> str:
    """Follow a stack whose file has these keys of the provider."""
    (tmp_path / "Pulumi.yaml").write_text("name: hourbank\nruntime: python\n")
    given = {f"aws:{key}": value for key, value in config.items()}
    (tmp_path / "Pulumi.dev.yaml").write_text(json.dumps({"config": given}))
    return way.follow(read_stack("dev", tmp_path), option)


@pytest.mark.parametrize(
    ("config", "region", "key", "place", "words"),
    [
        ({}, None, "111111111111", "us-west-2", ""),
        ({"profile": "prod"}, None, "222222222222", "us-west-1", "the profile prod (aws:profile)"),
        ({"profile": "prod", "region": "eu-west-1"}, None, "222222222222", "eu-west-1", "the profile prod"),
        ({"region": "eu-west-1"}, "eu-west-2", "111111111111", "eu-west-2", ""),
        ({"accessKey": "333333333333", "secretKey": "x"}, None, "333333333333", "us-west-2", "keys of its own"),
    ],
)
def test_the_stacks_profile_keys_and_region_come_before_the_shells(home, tmp_path, config, region, key, place, words):
    home.setenv("AWS_PROFILE", "not-there" if "profile" in config else "default")
    if "region" in config:
        home.setenv("AWS_REGION", "ap-south-1")
    assert follow(tmp_path, region, **config).startswith(words)
    session = boto3.DEFAULT_SESSION
    assert (session.get_credentials().access_key, session.region_name) == (key, place)


def test_a_profile_comes_before_keys_in_the_environment_as_for_the_provider(home, tmp_path):
    home.setenv("AWS_ACCESS_KEY_ID", "444444444444")
    home.setenv("AWS_SECRET_ACCESS_KEY", "x")
    home.setenv("AWS_REGION", "ap-south-1")
    follow(tmp_path, profile="prod")
    assert (boto3.DEFAULT_SESSION.get_credentials().access_key, boto3.DEFAULT_SESSION.region_name) == (
        "222222222222",
        "ap-south-1",
    )
    follow(tmp_path)
    assert boto3.DEFAULT_SESSION.get_credentials().access_key == "444444444444"


def test_files_of_profiles_that_the_stack_names_are_read(home, tmp_path):
    (tmp_path / "elsewhere").write_text("[prod]\naws_access_key_id = 555555555555\naws_secret_access_key = x\n")
    for named in (str(tmp_path / "elsewhere"), [str(tmp_path / "elsewhere")]):
        follow(tmp_path, profile="prod", sharedCredentialsFiles=named)
        assert boto3.DEFAULT_SESSION.get_credentials().access_key == "555555555555"


@contextlib.contextmanager
def tokens() -> Iterator[tuple[str, list[dict]]]:
    """What answers as AWS's token service, each role's key is its name: its address, and what it was asked."""
    asked: list[dict] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            by = self.headers.get("Authorization", "")
            asked.append(
                {key: one[0] for key, one in body.items()} | {"by": by.partition("Credential=")[2].split("/")[0]}
            )
            name, action = body["RoleArn"][0].rpartition("/")[2], body["Action"][0]
            text = (
                f"<{action}Response><{action}Result><Credentials><AccessKeyId>{name}</AccessKeyId><SecretAccessKey>x"
                "</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
                f"</Credentials></{action}Result></{action}Response>"
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


ONE = {"roleArn": ROLE % "one", "sessionName": "me", "externalId": "secret-to-nobody"}
MORE = {
    "roleArn": ROLE % "two",
    "duration": "1h30m",
    "policy": "{}",
    "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
    "sourceIdentity": "me",
    "tags": {"a": "b"},
    "transitiveTagKeys": ["a"],
}


@pytest.mark.parametrize("config", [{"assumeRole": ONE}, {"assumeRoles": [ONE]}, {"assumeRoles": json.dumps([ONE])}])
def test_a_role_is_assumed_by_the_stacks_profile_in_each_form(home, tmp_path, config):
    with tokens() as (address, asked):
        home.setenv("AWS_ENDPOINT_URL_STS", address)
        led = follow(tmp_path, profile="prod", **config)
        assert boto3.DEFAULT_SESSION.get_credentials().access_key == "one"
    key = next(iter(config))
    assert led == f"the profile prod (aws:profile), the role {ROLE % 'one'} (aws:{key})"
    (request,) = asked
    assert {name: request[name] for name in ("RoleArn", "RoleSessionName", "ExternalId", "by")} == {
        "RoleArn": ROLE % "one",
        "RoleSessionName": "me",
        "ExternalId": "secret-to-nobody",
        "by": "222222222222",
    }


def test_each_role_is_assumed_by_the_one_before_with_all_that_the_provider_takes(home, tmp_path):
    with tokens() as (address, asked):
        home.setenv("AWS_ENDPOINT_URL_STS", address)
        follow(tmp_path, accessKey="333333333333", secretKey="x", assumeRoles=[ONE, MORE])
        assert boto3.DEFAULT_SESSION.get_credentials().access_key == "two"
    assert [(one["by"], one["RoleArn"]) for one in asked] == [("333333333333", ROLE % "one"), ("one", ROLE % "two")]
    assert {key: value for key, value in asked[1].items() if key not in ("by", "RoleArn", "RoleSessionName")} == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "DurationSeconds": "5400",
        "Policy": "{}",
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "SourceIdentity": "me",
        "Tags.member.1.Key": "a",
        "Tags.member.1.Value": "b",
        "TransitiveTagKeys.member.1": "a",
    }


def test_a_web_identity_comes_before_the_roles(home, tmp_path):
    (tmp_path / "token").write_text("a.jwt")
    web = {"roleArn": ROLE % "web", "webIdentityTokenFile": str(tmp_path / "token"), "sessionName": "ci"}
    with tokens() as (address, asked):
        home.setenv("AWS_ENDPOINT_URL_STS", address)
        follow(tmp_path, assumeRoleWithWebIdentity=web, assumeRoles=[ONE])
        assert boto3.DEFAULT_SESSION.get_credentials().access_key == "one"
    assert [(one["Action"], one["by"]) for one in asked] == [("AssumeRoleWithWebIdentity", ""), ("AssumeRole", "web")]
    assert (asked[0]["WebIdentityToken"], asked[0]["RoleSessionName"]) == ("a.jwt", "ci")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"profile": "gone"}, "there is no profile gone, which aws:profile of this stack names: `aws configure "),
        ({"assumeRole": "x"}, "aws:assumeRole is 'x', which is no map and no list"),
        ({"assumeRoles": [{"sessionName": "x"}]}, "aws:assumeRoles has no role's ARN as its roleArn"),
        ({"assumeRoles": [{**ONE, "externalID": "x"}]}, "aws:assumeRoles has externalID, which is not known here"),
        ({"assumeRoles": [{**ONE, "duration": "1 hour"}]}, "aws:assumeRoles has the duration '1 hour': write one such"),
        ({"assumeRoleWithWebIdentity": ONE}, "has neither a webIdentityToken nor a webIdentityTokenFile"),
        ({"sharedConfigFiles": ["a", "b"]}, "aws:sharedConfigFiles names 2 files, and only Pulumi reads more than one"),
        ({"secretKey": {"secure": "v1:x"}}, "aws:secretKey is a secret in Pulumi.dev.yaml, which only Pulumi can open"),
    ],
)
def test_what_leads_nowhere_is_one_line(home, tmp_path, config, says):
    with pytest.raises(HourBankError, match=re.escape(says)) as caught:
        follow(tmp_path, **config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "command"),
    [("console", "`aws login --profile console`"), ("sso", "`aws sso login --profile sso`")],
)
def test_a_profile_of_a_sign_in_that_was_never_made_names_its_command(home, tmp_path, profile, command):
    home.setenv("AWS_ACCESS_KEY_ID", "444444444444")
    home.setenv("AWS_SECRET_ACCESS_KEY", "x")
    home.setenv("AWS_REGION", "us-east-1")
    follow(tmp_path, profile=profile)
    with pytest.raises(HourBankError) as caught, stack.errors_in_words():
        dynamodb.client("sts").get_caller_identity()
    assert str(caught.value) == f"the sign-in at AWS has expired or was never made: {command}"


@pytest.mark.thorough
@pytest.mark.xdist_group("way")
def test_each_command_asks_the_stacks_account_and_says_so_first(home, tmp_path):
    """On the emulator, for which a key of 12 digits is an account."""
    for name in ("Pulumi.yaml", "__main__.py", "components", "workflows", "handlers", "amplify"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "Pulumi.dev.yaml").write_text((ROOT / "Pulumi.dev.yaml").read_text() + "  aws:profile: prod\n")
    program = f"import pathlib, hourbank.names as n; n.ROOT = pathlib.Path({str(tmp_path)!r}); {HOURBANK[-1]}"
    home.setenv("COLUMNS", "200")
    order = ["--reason", "x", "--yes"]
    with Emulator() as emulator:
        home.setenv("AWS_ENDPOINT_URL", emulator.endpoint)
        for command in (["doctor"], ["audit"], ["show", "r1"], ["redrive", "r1", *order], ["verify"], ["list"]):
            ended = subprocess.run(
                [*HOURBANK[:-1], program, *command, "--stack", "dev"], capture_output=True, text=True, check=False
            )
            first = (ended.stdout + ended.stderr).partition("\n")[0]
            assert "222222222222 in us-east-1, by the profile prod (aws:profile)" in first, ended
