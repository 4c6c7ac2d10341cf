"""What a server keeps of a password for TLS-SRP, and the groups it is reckoned in. RFC 5054.

A verifier is g^x mod N, where x is a hash of salt, name and password. Whoever has it can play the
server, and can try passwords against it as fast as SHA-1 and one exponentiation allow, but cannot
log in with it.
"""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import Final, Protocol

from est_core import LocalProtocolError
from est_core.arguments import checked
from est_core.values import unchecked_value_class

SALT_BYTES: Final = 16
NAME_BYTES: Final = 255
"""The most that a name has in UTF-8: the ClientHello tells its length in one byte. RFC 5054 2.3."""
PASSWORD_BYTES: Final = 1024
BITS: Final = 2048
"""The group that verifiers are made in where nobody asks for another."""
BITS_MIN: Final = 1536
"""No smaller group is used, not even where it is asked for."""

_GROUPS: Final = {
    # generator, prime. RFC 5054 A
    1536: (
        2,
        "9def3cafb939277ab1f12a8617a47bbbdba51df499ac4c80beeea9614b19cc4d5f4f5f556e27cbde"
        "51c6a94be4607a291558903ba0d0f84380b655bb9a22e8dcdf028a7cec67f0d08134b1c8b9798914"
        "9b609e0be3bab63d47548381dbc5b1fc764e3f4b53dd9da1158bfd3e2b9c8cf56edf019539349627"
        "db2fd53d24b7c48665772e437d6c7f8ce442734af7ccb7ae837c264ae3a9beb87f8a2fe9b8b5292e"
        "5a021fff5e91479e8ce7a28c2442c6f315180f93499a234dcf76e3fed135f9bb",
    ),
    2048: (
        2,
        "ac6bdb41324a9a9bf166de5e1389582faf72b6651987ee07fc3192943db56050a37329cbb4a099ed"
        "8193e0757767a13dd52312ab4b03310dcd7f48a9da04fd50e8083969edb767b0cf6095179a163ab3"
        "661a05fbd5faaae82918a9962f0b93b855f97993ec975eeaa80d740adbf4ff747359d041d5c33ea7"
        "1d281e446b14773bca97b43a23fb801676bd207a436c6481f1d2b9078717461a5b9d32e688f87748"
        "544523b524b0d57d5ea77a2775d2ecfa032cfbdbf52fb3786160279004e57ae6af874e7303ce5329"
        "9ccc041c7bc308d82a5698f3a8d0c38271ae35f8e9dbfbb694b5c803d89f7ae435de236d525f5475"
        "9b65e372fcd68ef20fa7111f9e4aff73",
    ),
    3072: (
        5,
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22"
        "514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6"
        "f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3d"
        "c2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb"
        "9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603"
        "9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
        "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7d"
        "b3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864"
        "d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e208e24fa074e5ab31"
        "43db5bfce0fd108e4b82d120a93ad2caffffffffffffffff",
    ),
    4096: (
        5,
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22"
        "514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6"
        "f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3d"
        "c2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb"
        "9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3be39e772c180e8603"
        "9b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
        "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7d"
        "b3970f85a6e1e4c7abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864"
        "d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e208e24fa074e5ab31"
        "43db5bfce0fd108e4b82d120a92108011a723c12a787e6d788719a10bdba5b2699c327186af4e23c"
        "1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6287c59474e6bc05d"
        "99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9"
        "93b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff",
    ),
}


@unchecked_value_class
class SrpGroup:
    """A group of RFC 5054 A: arithmetic modulo `prime`, and powers of `generator`."""

    bits: int
    generator: int
    prime: int


GROUPS: Final = MappingProxyType(
    {
        bits: SrpGroup(bits=bits, generator=generator, prime=int(prime, 16))
        for bits, (generator, prime) in _GROUPS.items()
    }
)
"""The groups of RFC 5054 A from BITS_MIN on, but for those that take a second to reckon in."""


class SrpVerifier(Protocol):
    """What is known of a user: the verifier in big-endian bytes, of the group of so many bits."""

    @property
    def salt(self) -> bytes:
        """What was hashed with name and password."""

    @property
    def verifier(self) -> bytes:
        """g^x mod N."""

    @property
    def bits(self) -> int:
        """Which group: a key of GROUPS."""


@checked
def srp_salt(random: bytes) -> bytes:
    """Return a salt that every client hashes alike, of random bytes.

    OpenSSL's client, and curl with it, hashes a salt as a number: without the zero bytes at its
    beginning. So there are none: a zero in the first byte becomes a one. RFC 5054 2.5.3 leaves the
    choice to the server. Raises LocalProtocolError for no bytes at all.
    """
    if not random:
        raise LocalProtocolError("a salt has bytes")
    return bytes([random[0] or 1]) + random[1:]


@checked
def srp_verifier(name: str, password: str, *, salt: bytes, bits: int = BITS) -> bytes:
    """Return the verifier of a password, as long as the group's prime. RFC 5054 2.4, 2.5.3.

    Takes some milliseconds. Raises LocalProtocolError for a name or password that nobody could
    send, and for a group that is not one of GROUPS.
    """
    if bits not in GROUPS:
        sizes = ", ".join(map(str, GROUPS))
        raise LocalProtocolError(f"there is no group of {bits} bits here: take one of {sizes}")
    user, secret = srp_identity(name, password)
    inner = hashlib.sha1(user + b":" + secret, usedforsecurity=False).digest()
    exponent = hashlib.sha1(salt + inner, usedforsecurity=False).digest()
    group = GROUPS[bits]
    power = pow(group.generator, int.from_bytes(exponent, "big"), group.prime)
    return power.to_bytes(bits // 8, "big")


@checked
def srp_identity(name: str, password: str) -> tuple[bytes, bytes]:
    """Return name and password as they take part in the handshake: UTF-8, as they are.

    Raises LocalProtocolError for an empty or overlong one, and for a control character.
    """
    encoded = []
    parts = (("user name", name, NAME_BYTES), ("password", password, PASSWORD_BYTES))
    for what, text, bytes_max in parts:
        try:
            raw = text.encode()
        except UnicodeEncodeError as exc:
            raise LocalProtocolError(f"a {what} for TLS-SRP has to be text") from exc
        if not raw or len(raw) > bytes_max:
            raise LocalProtocolError(f"a {what} for TLS-SRP has 1 to {bytes_max} bytes in UTF-8")
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
            raise LocalProtocolError(f"a {what} for TLS-SRP has no control characters")
        encoded.append(raw)
    return encoded[0], encoded[1]
