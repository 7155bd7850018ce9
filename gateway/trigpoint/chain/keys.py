"""The gateway's chain account: from a key file, an encrypted keystore, or a program that signs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount

from trigpoint import keyfiles
from trigpoint.chain.signing import CommandSigner, Signer
from trigpoint.config import Chain
from trigpoint.errors import OperatorError

CREDENTIAL: Final = "chain-passphrase"
"""The systemd credential (LoadCredential=, LoadCredentialEncrypted=) with a keystore's passphrase."""

_SCRYPT_ROUNDS = 1 << 17
"""128 MiB while it runs: the least that OWASP's Password Storage Cheat Sheet recommends, and what a Pi can spare."""


def load_signer(settings: Chain) -> Signer:
    """Return who signs for the gateway's account.

    Raises:
        OperatorError: its key or passphrase file is missing, open to others or wrong.
    """
    if settings.signer_command:
        return CommandSigner(settings.signer_command, settings.account)
    assert settings.key_file is not None  # or the configuration would not have been taken
    return load_account(settings.key_file, settings.passphrase_file)


def load_account(path: Path, passphrase_file: Path | None = None) -> LocalAccount:
    """Read an account's key file, mode 0600: 64 hexadecimal digits, or an encrypted keystore (JSON, version 3).

    Args:
        path: the file.
        passphrase_file: of a keystore; None for the systemd credential.

    Raises:
        OperatorError: a file is missing, open to others, or holds no key; or the passphrase is wrong.
    """
    if not keyfiles.is_keystore(path):
        account: LocalAccount = Account.from_key(keyfiles.load_chain_key(path))
        return account
    return unlock(path, _passphrase(path, passphrase_file))


def account_of(text: str) -> LocalAccount:
    """Return the account of a private key as a person types it: 64 hexadecimal digits, with or without 0x.

    Raises:
        OperatorError: it is no key. What it is instead is not repeated.
    """
    digits = text.strip().removeprefix("0x")
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(digits))
    except Exception:
        raise OperatorError("that is no private key: it has 64 hexadecimal digits") from None
    return account


def unlock(path: Path, passphrase: str) -> LocalAccount:
    """Open a keystore. Raises OperatorError: the file is no keystore, or the passphrase is another one's."""
    keystore = keyfiles.load_keystore(path)
    try:
        key = Account.decrypt(keystore, passphrase)
    except ValueError:
        raise OperatorError(
            f"the passphrase does not open the keystore {path}: give the one it was made with"
        ) from None
    except Exception:
        # The library trusts the file to be what it claims, and falls over whatever else it meets.
        raise OperatorError(f"{path} is no keystore of version 3: give the file that a wallet exported") from None
    account: LocalAccount = Account.from_key(key)
    return account


def encrypt(account: LocalAccount, passphrase: str) -> bytes:
    """Return the account's keystore: JSON, version 3 of the Web3 Secret Storage Definition."""
    keystore = Account.encrypt(account.key, passphrase, kdf="scrypt", iterations=_SCRYPT_ROUNDS)
    return json.dumps(keystore, indent=2).encode() + b"\n"


def _passphrase(path: Path, passphrase_file: Path | None) -> str:
    if passphrase_file is not None:
        return keyfiles.load_password(passphrase_file, "passphrase")
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    credential = Path(folder, CREDENTIAL)
    if not folder or not credential.exists():
        raise OperatorError(
            f"the keystore {path} needs its passphrase: name a file with it (mode 0600) as chain.passphrase_file, "
            f"or give the service the systemd credential {CREDENTIAL}"
        )
    return keyfiles.load_password(credential, "passphrase")
