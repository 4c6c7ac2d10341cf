"""Keys in a token: found, made there, and signed with, by `pkcs11:` URIs.

The private key never leaves the token. Its public half is read from the object of the public key
that has the same id (for RSA the private one tells it too), and every signature is verified with it
before anybody sees it: an object with another key's id would else show only at the server.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import Entropy, Limits, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.asn1.keys import SignatureAlgorithm, public_key_facts
from est_transports import _clock
from est_transports.pki import token_objects
from est_transports.pki.pkcs11_uri import BAD_URI, Pkcs11Uri, TokenError
from est_transports.pki.token_modules import ANSWER_S, module_of
from est_transports.pki.token_pins import AskPin, Pin
from est_transports.pki.token_session import TokenSession

if TYPE_CHECKING:
    from pkcs11 import PrivateKey, Session

_ID_BYTES: Final = 8

MISMATCH: Final = "token/mismatch"
TOKEN_KEY_TYPES: Final = tuple(token_objects.KEY_TYPES)
"""The kinds of keys that can be made in a token, if it has them."""

_HASHES: Final = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


@checked
class OpenToken:
    """A token that is spoken to, by its URI: what `open_token` returns. A context manager.

    Calls may come from any thread, and wait for the token no longer than it was given. Whatever
    fails is a TokenError.
    """

    def __init__(self, uri: Pkcs11Uri, session: TokenSession) -> None:
        self.uri: Pkcs11Uri = uri
        self._session = session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log out. A key that is used afterwards logs in again."""
        self._session.close()

    def at(self, uri: Pkcs11Uri) -> OpenToken:
        """Return the same token, and the same login, for another key's URI."""
        return OpenToken(uri, self._session)

    def key(self) -> TokenSigner:
        """Return the private key that the URI names."""
        return TokenSigner(self.uri, self._session)

    def check_free(self) -> None:
        """Log in, and refuse what `generate` would refuse: no label, or one that is taken."""
        wanted = self.uri
        if not wanted.object:
            raise TokenError(BAD_URI, f"{wanted}: a new key needs a label: object=NAME")
        if wanted.type not in (None, "private"):
            raise TokenError(BAD_URI, f"{wanted}: type={wanted.type} names no private key")
        self._session.run(lambda session, _: token_objects.refuse_taken(session, wanted))

    def generate(self, kind: str, *, entropy: Entropy = _clock.entropy) -> TokenSigner:
        """Make a key in the token and return it; `uri` of that names it alone.

        `kind` is one of TOKEN_KEY_TYPES. The label is that of the URI, the id too, or chosen by
        chance. The private key is sensitive and cannot be extracted. A key with that label or id is
        never replaced: TokenError token/exists.
        """
        self.check_free()
        wanted = self.uri if self.uri.id else replace(self.uri, id=entropy(_ID_BYTES))

        def make(session: Session, _pin: str | None) -> str:
            token_objects.make_pair(session, wanted, kind)
            return session.token.label

        token = self._session.run(make)
        label, key_id = wanted.object or "", wanted.id or b""
        return TokenSigner(wanted.naming(token=token, label=label, key_id=key_id), self._session)


@checked
class TokenSigner:
    """A private key in a token: a `Signer`. What `open_signer` and `generate_key` return.

    `uri` names it, without a PIN. May be used from any thread. Signing waits for the token, in an
    event loop with all that goes on there.
    """

    def __init__(self, uri: Pkcs11Uri, session: TokenSession) -> None:
        self.uri: Pkcs11Uri = replace(uri, pin_value=None)
        self._session = session
        self._found: tuple[Session, PrivateKey] | None = None
        self._spki = b""
        self._spki = session.run(lambda opened, _: self._look(opened)[1])
        try:
            public_key_facts(self._spki, Limits())
        except RemoteProtocolError as exc:
            text = f"{uri}: the key cannot be used: {exc.message}"
            raise TokenError(token_objects.UNSUPPORTED, text) from exc

    def __repr__(self) -> str:
        return f"TokenSigner({str(self.uri)!r})"

    @property
    def public_key_spki(self) -> bytes:
        """The public key, a SubjectPublicKeyInfo in DER."""
        return self._spki

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """Return the signature over `tbs`, verified with the public key.

        Raises TokenError, and LocalProtocolError for an algorithm that is not one of this key.
        """
        facts = public_key_facts(self._spki, Limits())
        if facts.algorithm != algorithm.key_algorithm:
            raise LocalProtocolError(f"{algorithm.name} is no algorithm of this key")

        def sign(session: Session, pin: str | None) -> bytes:
            return token_objects.sign(self._key(session), tbs, algorithm, pin)

        signature = self._session.run(sign)
        if not _is_good(self._spki, signature, tbs, algorithm):
            raise TokenError(
                MISMATCH,
                f"{self.uri}: the token signs with another key than the public key it shows",
            )
        return signature

    def discard(self) -> None:
        """Remove the key from its token. For one that was made a moment ago and is not used."""
        self._session.run(
            lambda session, _: token_objects.destroy_pair(session, self._key(session))
        )

    def close(self) -> None:
        """Log out of the token. Signing logs in again."""
        self._session.close()

    def _key(self, session: Session) -> PrivateKey:
        """Return the key in this session: looked for once in each. Raises TokenError."""
        if self._found is not None and self._found[0] is session:
            return self._found[1]
        key, spki = self._look(session)
        if spki != self._spki:
            raise TokenError(
                MISMATCH, f"{self.uri}: the token came back with another key of that name"
            )
        return key

    def _look(self, session: Session) -> tuple[PrivateKey, bytes]:
        key = token_objects.find_private_key(session, self.uri)
        spki = token_objects.public_key_of(session, key, self.uri)
        self._found = (session, key)
        return key, spki


@checked
def open_token(
    uri: Pkcs11Uri,
    *,
    ask_pin: AskPin | None = None,
    pin_file: Path | None = None,
    answer_s: float = ANSWER_S,
) -> OpenToken:
    """Return the token that a URI names; it is spoken to when it is first asked for something.

    The PIN is in `pin_file`, else where the URI says, else `ask_pin` is asked for it. The token is
    waited for `answer_s` seconds at most, each time. Raises TokenError for a module that is not
    there.
    """
    pin = Pin(uri, ask=ask_pin, file=pin_file)
    module = module_of(uri, os.environ)
    return OpenToken(uri, TokenSession(uri, module, pin, answer_s=answer_s))


@checked
def open_signer(
    uri: str,
    *,
    ask_pin: AskPin | None = None,
    pin_file: Path | None = None,
    answer_s: float = ANSWER_S,
) -> TokenSigner:
    """Return the private key that a `pkcs11:` URI names. See open_token. Raises TokenError."""
    place = Pkcs11Uri.parse(uri)
    return open_token(place, ask_pin=ask_pin, pin_file=pin_file, answer_s=answer_s).key()


@checked
def generate_key(
    uri: str,
    kind: str,
    *,
    ask_pin: AskPin | None = None,
    pin_file: Path | None = None,
    answer_s: float = ANSWER_S,
) -> TokenSigner:
    """Make a private key where a `pkcs11:` URI says, and return it. See OpenToken.generate."""
    place = Pkcs11Uri.parse(uri)
    opened = open_token(place, ask_pin=ask_pin, pin_file=pin_file, answer_s=answer_s)
    return opened.generate(kind)


def _is_good(spki: bytes, signature: bytes, tbs: bytes, algorithm: SignatureAlgorithm) -> bool:
    key = load_der_public_key(spki)
    try:
        match key, algorithm.digest:
            case EllipticCurvePublicKey(), str(digest):
                key.verify(signature, tbs, ec.ECDSA(_HASHES[digest]))
            case RSAPublicKey(), str(digest):
                key.verify(signature, tbs, padding.PKCS1v15(), _HASHES[digest])
            case Ed25519PublicKey(), _:
                key.verify(signature, tbs)
            case _:
                return False
    except InvalidSignature:
        return False
    return True
