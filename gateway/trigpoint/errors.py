"""Errors that are told to the person who runs the gateway."""

from __future__ import annotations


class OperatorError(Exception):
    """Something that only the operator can put right.

    The message is one line: what is wrong, and what to do next. The command prints it without a traceback and
    exits with 1.
    """
