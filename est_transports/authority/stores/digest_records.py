"""The record that lets a user answer Digest: H(A1) of each algorithm, for one realm.

A record is text: `digest1$realm$MD5:hex$SHA-256:hex$SHA-512-256:hex`, the realm in base64. Who
reads it can answer as the user, in that realm only. So it is made for those servers only that offer
Digest. RFC 7616 3.4.2, 5.13.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Final

from est_core import DigestAlgorithm, LocalProtocolError
from est_core.arguments import checked
from est_core.auth.digest import digest_secret
from est_core.values import value_class

_RECORD: Final = re.compile(r"digest1\$([A-Za-z0-9+/]*={0,2})((?:\$[A-Z0-9-]+:[0-9a-f]{32,64})+)")


@value_class
class DigestRecord:
    """What a record says: the realm that it is for, and the secret of each algorithm."""

    realm: str
    secrets: Mapping[DigestAlgorithm, str] = field(repr=False)

    def secret(self, algorithm: DigestAlgorithm) -> str | None:
        """Return H(A1) in hexadecimal, None for an algorithm that the record lacks."""
        return self.secrets.get(algorithm)


@checked
def digest_record(name: str, realm: str, password: str) -> str:
    """Return the record of a user's password in a realm.

    Name and password count in their form NFC, as they do for Basic. Raises LocalProtocolError for
    text that is not Unicode, and a name with a colon.
    """
    user, secret = (unicodedata.normalize("NFC", text) for text in (name, password))
    where = base64.b64encode(realm.encode("utf-8", "surrogatepass")).decode("ascii")
    parts = [f"{each.value}:{digest_secret(each, user, realm, secret)}" for each in DigestAlgorithm]
    return "$".join(("digest1", where, *parts))


@checked
def read_digest_record(text: str) -> DigestRecord:
    """Return what a record says. Raises LocalProtocolError for what is none."""
    found = _RECORD.fullmatch(text)
    if found is None:
        raise LocalProtocolError("not a Digest record")
    secrets = {}
    for part in found[2][1:].split("$"):
        token, _, digits = part.partition(":")
        algorithm = DigestAlgorithm.named(token)
        is_known = algorithm is not None and len(digits) == algorithm.hex_digits
        if algorithm is None or not is_known:
            raise LocalProtocolError("a Digest record with an algorithm that is not known")
        secrets[algorithm] = digits
    try:
        realm = base64.b64decode(found[1], validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        realm = None
    if realm is None:
        raise LocalProtocolError("a Digest record whose realm cannot be read")
    return DigestRecord(realm=realm, secrets=MappingProxyType(secrets))
