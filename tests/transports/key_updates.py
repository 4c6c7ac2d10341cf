"""TLS 1.3 KeyUpdate records, made by hand: no library's client sends them when it is told to."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_APPLICATION_DATA = 23
_HANDSHAKE = 22
_UPDATE_REQUESTED = b"\x18\x00\x00\x01\x01"


class KeyUpdates:
    """Writes the client's records of a connection, from its CLIENT_TRAFFIC_SECRET_0 on.

    With TLS_AES_256_GCM_SHA384, which is what two ends of OpenSSL agree on.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._sent = 0

    def update(self) -> bytes:
        """Return a record that asks for new keys, and use new ones from then on."""
        record = self._record(_HANDSHAKE, _UPDATE_REQUESTED)
        self._secret, self._sent = _expanded(self._secret, b"traffic upd", 48), 0
        return record

    def data(self, content: bytes) -> bytes:
        """Return a record of application data."""
        return self._record(_APPLICATION_DATA, content)

    def _record(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        iv = int.from_bytes(_expanded(self._secret, b"iv", 12), "big")
        nonce = (iv ^ self._sent).to_bytes(12, "big")
        self._sent += 1
        return head + AESGCM(_expanded(self._secret, b"key", 32)).encrypt(nonce, inner, head)


def _expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context. RFC 8446 7.1."""
    full = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\x00"
    return HKDFExpand(algorithm=hashes.SHA384(), length=size, info=info).derive(secret)
