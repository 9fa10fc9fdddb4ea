"""The local deployment: the CloudFormation template of the recorded program, deployed to the emulator.

Everything in which the emulator differs from AWS, and for which the template is therefore changed, is in `DIFFERENCES`;
what a function's process does differently is in `hourbank.lambda_runtime`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hourbank import lambda_runtime


def bootstrap() -> str:
    """Return the executable that the emulator starts for each Lambda process.

    Handlers and Powertools come from the archive; boto3 from this environment, as from Lambda's own runtime.
    """
    python, runtime = shlex.quote(sys.executable), shlex.quote(str(Path(lambda_runtime.__file__)))
    return f"""#!/bin/sh
unset PYTHONDONTWRITEBYTECODE
export PYTHONPATH="$LAMBDA_TASK_ROOT"
exec {python} -P {runtime}
"""
