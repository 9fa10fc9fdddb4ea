"""`hourbank export amplify-gen2`: the program in a stack of an Amplify Gen 2 backend.

Three files in `amplify/workflows`: the template, the functions' code, and `resource.ts`, which gives the template the
backend's own tables.
"""

import json
from pathlib import Path
from typing import Any

from hourbank.errors import HourBankError
from hourbank.export import parameterised
from hourbank.export.parameterised import ARCHIVE, ENVIRONMENT, PARAMETERS, STREAM_ARN, TABLE_NAMES
from hourbank.files import HOOK_HEADER, MOVE_IT, refuse_foreign, refuse_foreign_archive, write

FOLDER, RESOURCE, TEMPLATE = "workflows", "resource.ts", "template.json"
SOURCE = Path(__file__).with_name("resource.ts")
CODE = {
    "CodeBucket": {"Type": "String", "Description": "Bucket of the functions' code"},
    "CodeKey": {"Type": "String", "Description": "Key of the functions' code in its bucket"},
}


def template(*, retain: bool = False) -> dict[str, Any]:
    """Return the template, whose parameters `resource.ts` replaces."""
    # The CDK puts a value into the text of an Fn::Sub as text; names that CloudFormation resolves later must stand
    # beside it, as variables.
    later = {name: {"Ref": name} for name in (*TABLE_NAMES.values(), STREAM_ARN)}
    environment = {key: value for key, value in PARAMETERS[ENVIRONMENT].items() if key != "Default"}
    return parameterised.template(
        parameterised.record("amplify"),
        code={"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}},
        # no environment by default: who gives an undefined one does not mean dev
        parameters={**PARAMETERS, ENVIRONMENT: environment, **CODE},
        forms=later,
        retain=retain,
    )


def write_into(amplify: Path, *, retain: bool = False) -> dict[str, Any]:
    """Write the three files into the `amplify` folder of a project, and return the template.

    Raises
    ------
    HourBankError
        It is no folder of Gen 2, or something there is somebody's.
    """
    if not (amplify / "backend.ts").is_file():
        hint = f": did you mean {amplify / 'amplify'}?" if (amplify / "amplify" / "backend.ts").is_file() else ""
        for backend in (amplify, amplify / "backend", amplify / "amplify" / "backend"):
            if (backend / "backend-config.json").is_file():
                hint = f", but Gen 1's backend-config.json: use `hourbank export amplify --into {backend}`"
        raise HourBankError(f"{amplify} is not the amplify folder of Amplify Gen 2: no backend.ts{hint}")
    made = template(retain=retain)
    _, archive = parameterised.archive()
    folder = amplify / FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise HourBankError(f"{folder} cannot be made: {error.strerror}") from error
    refuse_foreign(folder / RESOURCE, HOOK_HEADER, MOVE_IT)
    refuse_foreign(folder / TEMPLATE, made["Description"], MOVE_IT)
    refuse_foreign_archive(folder / ARCHIVE)
    write(folder / RESOURCE, SOURCE.read_bytes())
    write(folder / TEMPLATE, (json.dumps(made, indent=2, ensure_ascii=False) + "\n").encode())
    write(folder / ARCHIVE, archive)
    return made
