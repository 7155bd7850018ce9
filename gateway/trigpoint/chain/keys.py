"""The gateway's chain account."""

from __future__ import annotations

from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from trigpoint.keyfiles import load_chain_key


def load_account(path: Path) -> LocalAccount:
    """Read the account's key file: mode 0600, 64 hexadecimal digits.

    Raises:
        OperatorError: the file is missing, open to others, or holds no key.
    """
    account: LocalAccount = Account.from_key(load_chain_key(path))
    return account
