"""YAML as people write templates: intrinsic functions in their short form."""

import io
import re
from collections.abc import Mapping
from typing import Any

import yaml


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
