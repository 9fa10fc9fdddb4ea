"""Every fault at every point of every path, on an engine that runs in the same process."""

from importlib.util import find_spec

from hourbank.errors import HourBankError
from hourbank.names import to_install

if find_spec("moto") is None:
    raise HourBankError(f"simulating needs moto, which is not installed here: `{to_install('simulate')}` does it")
