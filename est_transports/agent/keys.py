"""The keys of an agent's certificate: in files, or in a token, each new one under its own label.

PKCS #11 replaces no key, and neither does the agent: a new one is made as LABEL-1, LABEL-2 and so
on. One that was made for nothing is removed again; those of earlier certificates by option only,
and never before another pair has taken their place and the place of the one before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from est_core import LocalProtocolError
from est_core.asn1.csrattrs import CsrAttrs
from est_core.client.enrollment import wanted_key
from est_core.values import unchecked_value_class
from est_transports.agent.errors import AgentError
from est_transports.agent.settings import CertificateSettings
from est_transports.agent.slots import Slots, previous_of, running_of
from est_transports.pairs.errors import PairError
from est_transports.pairs.values import Candidate, KeyReference
from est_transports.pki.new_keys import kind_of_key, make_key
from est_transports.pki.pkcs11_uri import Pkcs11Uri, TokenError, is_pkcs11_uri
from est_transports.pki.signers import LocalSigner, Signer, SigningKey
from est_transports.pki.token_keys import OpenToken, TokenSigner, open_token

KEY_ELSEWHERE: Final = "agent/key-elsewhere"
UNMET: Final = "csrattrs/unmet"
_TAKEN: Final = "token/exists"
_MOST: Final = 9999


@unchecked_value_class
class HeldKey:
    """A key that signs, and where it is: itself, or the reference by which it is found again."""

    signer: Signer
    key: SigningKey | KeyReference


class Keys:
    """Opens, makes and removes the keys of one certificate. Raises AgentError.

    A token is logged in to when one of its keys is used, until `close`. A PIN that it refused is
    not given to it again, however often it is tried.
    """

    def __init__(self, settings: CertificateSettings) -> None:
        self._settings = settings
        self._places: dict[str, OpenToken] = {}

    def open(self, key: SigningKey | KeyReference | None) -> HeldKey:
        """Return a key that is there."""
        if isinstance(key, KeyReference):
            return HeldKey(signer=self._found(key), key=key)
        if key is None:
            raise AgentError(KEY_ELSEWHERE, "the key was not read")
        return HeldKey(signer=LocalSigner(key), key=key)

    def make(self, csrattrs: CsrAttrs | None) -> HeldKey:
        """Make a key, of the kind that the settings name or the server asks for."""
        wanted, kind = wanted_key(csrattrs), self._settings.key_type
        try:
            if self._settings.key_uri is None:
                return self.open(make_key(wanted, kind))
            signer = self._made(kind_of_key(wanted, kind))
            return HeldKey(signer=signer, key=KeyReference(uri=str(signer.uri)))
        except LocalProtocolError as exc:
            raise AgentError(UNMET, exc.message) from exc

    def remove(self, key: SigningKey | KeyReference | None) -> None:
        """Remove a key from its token, if it was made here, by its label and its token.

        One that is in a file goes with its directory. A reference is read from there too, and who
        may write into that may have put the key of a CA in its place.
        """
        if not isinstance(key, KeyReference) or not self._is_ours(key):
            return
        signer = self._found(key)
        try:
            signer.discard()
        except TokenError as exc:
            raise AgentError(exc.code, exc.message) from exc

    def close(self) -> None:
        """Log out of all tokens."""
        for place in self._places.values():
            place.close()

    def _is_ours(self, key: KeyReference) -> bool:
        if self._settings.key_uri is None or not is_pkcs11_uri(key.uri):
            return False
        try:
            ours, uri = Pkcs11Uri.parse(self._settings.key_uri), Pkcs11Uri.parse(key.uri)
        except TokenError:
            return False
        label, dash, number = (uri.object or "").rpartition("-")
        if label != ours.object or not dash or not number.isdecimal():
            return False
        wanted = replace(ours, token=ours.token or uri.token)
        return _without_key(uri) == _without_key(wanted)

    def _made(self, kind: str) -> TokenSigner:
        uri = Pkcs11Uri.parse(self._settings.key_uri or "")
        for number in range(1, _MOST + 1):
            try:
                return self._token(replace(uri, object=f"{uri.object}-{number}")).generate(kind)
            except TokenError as exc:
                if exc.code != _TAKEN or number == _MOST:
                    raise AgentError(exc.code, exc.message) from exc
        raise TypeError("the last number is tried")

    def _found(self, key: KeyReference) -> TokenSigner:
        if not is_pkcs11_uri(key.uri):
            raise AgentError(KEY_ELSEWHERE, "the key is where no pkcs11: URI says")
        try:
            uri = Pkcs11Uri.parse(key.uri)
            return self._token(uri).key()
        except TokenError as exc:
            raise AgentError(exc.code, exc.message) from exc

    def _token(self, uri: Pkcs11Uri) -> OpenToken:
        """Return the token of a key, with the one login that all its keys share."""
        place = str(replace(uri, object=None, id=None, type=None))
        if place not in self._places:
            self._places[place] = open_token(uri)
        return self._places[place].at(uri)


def give_up_candidate(slots: Slots, keys: Keys) -> Candidate | None:
    """Forget the candidate, and remove its key where that is in a token and no pair's.

    Returns it, None where there was none, or a damaged one. Raises AgentError for a key that stays;
    the candidate is forgotten all the same.
    """
    try:
        candidate = slots.candidate
    except PairError:
        candidate = None
    slots.discard()
    in_use = [pair.key for pair in (running_of(slots), previous_of(slots)) if pair is not None]
    if candidate is not None and candidate.key not in in_use:
        keys.remove(candidate.key)
    return candidate


def _without_key(uri: Pkcs11Uri) -> Pkcs11Uri:
    """Return a URI that names a token, and how to reach it."""
    return replace(uri, object=None, id=None, type=None, unknown=())
