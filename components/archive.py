"""One archive for every function: the handlers and the parts of Powertools that they import, source only.

The files are listed one by one, because a folder would bring ``__pycache__`` along and change every function whenever
somebody ran a test. Pulumi hashes names and bytes, so the archive is the same on every machine.
"""

from importlib.util import find_spec
from pathlib import Path

import pulumi

HANDLERS = Path(__file__).parent.parent / "handlers"
# What Logger, single_metric and the batch processor import; tests run all three from the archive alone. The parts that
# no handler imports, four fifths of the package, stay out. Lambda's runtime brings boto3, and boto3 brings jmespath.
POWERTOOLS = (
    "*.py",
    "exceptions/*.py",
    "logging/**/*.py",
    "metrics/*.py",
    "metrics/provider/*.py",
    "metrics/provider/cloudwatch_emf/*.py",
    "middleware_factory/*.py",
    "shared/*.py",
    "tracing/*.py",
    "utilities/__init__.py",
    "utilities/batch/*.py",
    "utilities/data_classes/*.py",
    "utilities/idempotency/*.py",
    "utilities/idempotency/persistence/*.py",
    "utilities/idempotency/serialization/*.py",
    "utilities/jmespath_utils/*.py",
    "warnings/*.py",
)


def installed(module: str) -> Path:
    """Where a package or module is installed, without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise pulumi.RunError(f"{module} is not installed: run `make .venv`, or install hourbank again")
    return Path(spec.origin)


def handler_files() -> dict[str, Path]:
    """Every file of the archive, by its path inside, in order."""
    powertools = installed("aws_lambda_powertools").parent
    files = [(path.relative_to(HANDLERS.parent).as_posix(), path) for path in HANDLERS.rglob("*.py")]
    files += [
        (path.relative_to(powertools.parent).as_posix(), path)
        for pattern in POWERTOOLS
        for path in powertools.glob(pattern)
    ]
    files.append(("typing_extensions.py", installed("typing_extensions")))
    return dict(sorted(files))


def handler_archive() -> pulumi.AssetArchive:
    """The code of every function."""
    return pulumi.AssetArchive({name: pulumi.FileAsset(path) for name, path in handler_files().items()})
