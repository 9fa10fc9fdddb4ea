"""Every fault at every point of every path, on an engine that runs in the same process."""

from importlib.util import find_spec

from hourbank.errors import HourBankError

if find_spec("moto") is None:
    raise HourBankError("simulating needs moto, which is not here: install it with pip install 'hourbank[simulate]'")
