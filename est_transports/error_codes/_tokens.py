"""The error codes of keys in a token."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

_ROWS: Final = (
    (
        "token/bad-uri",
        "a `pkcs11:` URI that is none (RFC 7512), or that names what is no key to sign with",
        "write it as `pkcs11:token=TOKEN;object=LABEL?module-path=/path/to/module.so`",
    ),
    (
        "token/missing-extra",
        "python-pkcs11 is not installed",
        "run `pip install 'est-sansio[client,pkcs11]'`",
    ),
    (
        "token/no-module",
        "there is no PKCS #11 module of that name, or it cannot be loaded",
        "name the shared library of the token's maker by `module-path=` in the URI, or in "
        "`PKCS11_MODULE_PATH`",
    ),
    (
        "token/not-found",
        "no token fits the URI",
        "check that it is plugged in, and its label: pkcs11-tool shows them",
    ),
    (
        "token/ambiguous-token",
        "more than one token fits the URI",
        "add `serial=` to the URI",
    ),
    (
        "token/no-key",
        "the token has no private key of that label and id",
        "check `object=` and `id=` in the URI, or have a key made there with `--make-key`",
    ),
    (
        "token/ambiguous-key",
        "more than one private key fits the URI",
        "add `id=` to the URI, of the key that is meant",
    ),
    (
        "token/cannot-sign",
        "the key is not one for signatures: its CKA_SIGN is false",
        "use another key: what a key is for is fixed when it is made",
    ),
    (
        "token/unsupported-key",
        "a kind of key that is not known here, or one without a public key that can be read",
        "use EC on P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519, and keep the "
        "public key in the token",
    ),
    (
        "token/exists",
        "a key was to be made under a label, or an id, that the token has already",
        "name another label; or have the key that is there certified with `--new-key`",
    ),
    (
        "token/mismatch",
        "the token signs with another key than the public key that it shows, or came back with "
        "another",
        "check the ids of its objects: a private and a public key of one id are to be a pair",
    ),
    (
        "token/no-pin",
        "the token wants a PIN, and there is none and nobody to ask",
        "put it into a file of mode 0600 and name that by `pin-source=file:/path` in the URI",
    ),
    (
        "token/pin-source",
        "the file with the PIN cannot be used: missing, empty, for others to read, a command",
        "keep the PIN alone in a file of mode 0600, and give its absolute path",
    ),
    (
        "token/pin-wrong",
        "the token refuses the PIN; it is not tried again, for the token counts",
        "correct the PIN before the next try: after a few wrong ones the token locks",
    ),
    (
        "token/pin-last-try",
        "one more wrong PIN would lock the token, and this one comes from a file",
        "correct the file, then log in once by hand: the right PIN sets the count back",
    ),
    (
        "token/pin-locked",
        "the token takes no PIN: locked after wrong ones, expired, or never set",
        "ask who holds the security officer's PIN to set the user's anew",
    ),
    (
        "token/removed",
        "the token is not in its slot, or was taken out",
        "put it back and run the command again",
    ),
    (
        "token/slow",
        "the token did not answer in time",
        "look whether it waits to be touched, or another program has it",
    ),
    (
        "token/failed",
        "any other error of the PKCS #11 module",
        "look the name of the error up in the documentation of the token's module",
    ),
    (
        "token/no-client-auth",
        "a certificate whose key is in a token was to be shown in TLS, which cannot sign with it "
        "here",
        "give the key with `--new-key`, and log in with `--user`, `--code-file`, `--srp-user`, or "
        "a pair in files by `--cert` and `--key`",
    ),
)

TOKENS: Final = (
    Section(
        title="Keys in a token",
        codes=tuple(
            ErrorCode(code=code, cause=cause, remedy=remedy, audience=Audience.USER)
            for code, cause, remedy in _ROWS
        ),
    ),
)
