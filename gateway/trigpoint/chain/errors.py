"""What can go wrong between the gateway and a chain."""

from __future__ import annotations

from trigpoint.errors import OperatorError


class ChainUnavailableError(OperatorError):
    """The node did not answer, or not with sense. Whoever runs for long tries again later; a command prints it."""


class NodeRefusedError(ChainUnavailableError):
    """The node understood the request and answered with an error.

    Attributes:
        reason: the node's own words, shortened to one printable line.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class WrongChainError(OperatorError):
    """The node is on another chain than the configuration says."""


class RevertedError(OperatorError):
    """The contract refuses a call or a transaction, so to send it would only cost gas.

    Attributes:
        name: the contract's custom error, such as `NotLogWriter`; empty if the node did not pass it on.
        arguments: the error's arguments.
    """

    def __init__(self, message: str, name: str = "", arguments: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.arguments = arguments
