"""A template for SAM and CloudFormation, as people write them: in YAML, intrinsic functions in their short form."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hourbank.export import parameterised
from hourbank.export.parameterised import ARCHIVE
from hourbank.files import HEADER, refuse_foreign, refuse_foreign_archive, write


def write_template(out: Path, *, retain: bool) -> dict[str, Any]:
    """Write the template to `out` and the functions' archive beside it, over nothing but an earlier export.

    Returns
    -------
    dict
        The template.
    """
    recording = parameterised.record("cloudformation")
    template = parameterised.template(recording, code=f"./{ARCHIVE}", retain=retain)
    # cfn-lint warns that Code is a path; the commands that deploy this template upload it
    template["Metadata"]["cfn-lint"] = {"config": {"ignore_checks": ["W3002"]}}
    text = f"{HEADER}\n{dump(template)}"
    _, archive = parameterised.archive()
    refuse_foreign(out, HEADER)
    refuse_foreign_archive(out.parent / ARCHIVE)
    write(out, text.encode())
    write(out.parent / ARCHIVE, archive)
    return template


class Dumper(yaml.SafeDumper):
    """Writes `Ref` as `!Ref` and so on, and what is there twice in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_template(self, value: dict[str, Any]) -> yaml.Node:
        if len(value) == 1:
            ((key, argument),) = value.items()
            if key == "Fn::GetAtt":
                return self.represent_scalar("!GetAtt", ".".join(argument))
            if key in ("Ref", "Fn::Sub") and isinstance(argument, str):
                return self.represent_scalar(f"!{key.removeprefix('Fn::')}", argument)
            if key in ("Fn::If", "Fn::Not", "Fn::Equals"):
                return self.represent_sequence(f"!{key.removeprefix('Fn::')}", argument, flow_style=True)
        return self.represent_dict(value)


Dumper.add_representer(dict, Dumper.represent_template)


def dump(template: Mapping[str, Any]) -> str:
    """Return a template as YAML, in the order in which it is."""
    stream = io.StringIO()
    yaml.dump(dict(template), stream, Dumper, sort_keys=False, width=120, allow_unicode=True)
    # PyYAML quotes whatever has a tag
    return re.sub(r"!(Ref|GetAtt) '([A-Za-z0-9.:]+)'", r"!\1 \2", stream.getvalue())
