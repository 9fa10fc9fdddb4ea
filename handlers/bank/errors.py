"""Refusals that the workflows catch by name; their message is the failureReason that people read."""


class Refusal(Exception):
    """A business "no": running the same step again would give the same answer."""


class ValidationFailed(Refusal):
    """The stored record is not a request that can be served."""


class InsufficientBalance(Refusal):
    """The requester has fewer hours than the request needs."""


class NotOwner(Refusal):
    """The record belongs to another execution, or is gone."""


class IllegalOffer(Refusal):
    """The counter-offer does not name legal hours."""


class OfferNotAffordable(Refusal):
    """The requester has fewer hours than the accepted counter-offer needs."""


class ReleaseRefused(Refusal):
    """Request, escrow and balance do not fit together, so nobody gets hours; they stay held."""


class GrantRefused(Refusal):
    """What is asked for is no grant, or another one than was made for the same user and reason."""
