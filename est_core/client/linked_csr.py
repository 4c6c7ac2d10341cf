"""The CSR of a client exchange: signed anew, by the same key, for each channel. RFC 7030 3.5.

A CSR that carries the binding of one channel is worth nothing on another, so what is kept here is
what the CSR says, and the last signature only for as long as its binding holds.
"""

from __future__ import annotations

from typing import Final

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._oids import CHALLENGE_PASSWORD, OTP_CHALLENGE
from est_core.asn1.attributes import Attribute, challenge_attribute
from est_core.asn1.csrattrs import LINKING, CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import (
    CertRequest,
    CertRequestInfo,
    CsrArgument,
    assemble,
    given_request,
    parse_cert_request,
    signature_is_valid,
)
from est_core.channel import Channel, ChannelBinding, TlsVersion
from est_core.checks.pop import PopMode, check_foreign, linking_text
from est_core.client.enrollment import signing
from est_core.client.session_settings import SessionSettings
from est_core.credentials import CodeCredentials, CodeSource
from est_core.events import SignatureRequested

_OF_SOURCE: Final = {
    CodeSource.CHALLENGE_PASSWORD: CHALLENGE_PASSWORD,
    CodeSource.OTP_CHALLENGE: OTP_CHALLENGE,
}
_WITHOUT_EMS: Final = ": it is without extended master secret (RFC 7627)"


class LinkedCsr:
    """What is to be certified, ready for one channel after another.

    A CertRequestInfo is linked and signed for each channel; a CertRequest was signed by somebody
    else and is sent as it is, or not at all. `asked` is either, `spki` the key in its usual form.
    """

    def __init__(
        self,
        csr: CsrArgument,
        csrattrs: CsrAttrs | None,
        algorithm: SignatureAlgorithm | None,
        settings: SessionSettings,
        code: CodeCredentials | None,
    ) -> None:
        """Raise LocalProtocolError for a key that cannot be used with `algorithm`.

        And for a code that fits into no attribute, or has none: RFC 7030 3.5 has
        challengePassword for linking.
        """
        csr = given_request(csr)
        self.spki: bytes = csr.spki
        self.asked: CertRequest | CertRequestInfo = csr
        self._algorithm = algorithm
        if isinstance(csr, CertRequestInfo):
            self.spki, self._algorithm = signing(csr, algorithm, settings.limits)
        self._pop = pop = settings.pop
        self._limits = settings.limits
        self._is_asked_to_link = pop is PopMode.ALWAYS or (
            pop is PopMode.AUTO and csrattrs is not None and csrattrs.requires_linking
        )
        listed = None if csrattrs is None else csrattrs.linking_attribute
        self._places = settings.link_with.attributes(listed)
        self._code: Attribute | None = None
        if code is not None:
            if isinstance(csr, CertRequest):
                raise LocalProtocolError("a request that is signed takes no code")
            self._code = challenge_attribute(_OF_SOURCE[code.source], code.code)
        if pop is PopMode.ALWAYS and not self._linking_attributes:
            raise LocalProtocolError(
                "a code in challengePassword leaves no place for the linking of PopMode.ALWAYS: "
                "the server's CSR attributes list no estIdentityLinking, and LinkWith does not "
                "say so"
            )
        self._tbs = b""
        self._signed: tuple[ChannelBinding | None, bytes] | None = None

    @property
    def _linking_attributes(self) -> tuple[str, ...]:
        """The attributes to link with; not the one that the code has."""
        taken = None if self._code is None else self._code.type
        return tuple(oid for oid in self._places if oid != taken)

    @property
    def _must_link(self) -> bool:
        return self._is_asked_to_link and bool(self._linking_attributes)

    def forget_code(self) -> None:
        """Put no code into what is signed from now on: it is for one server."""
        if self._code is not None:
            self._code = self._signed = None

    def needs_older_tls(self, channel: Channel) -> bool:
        """True if only TLS 1.2 has the binding that is wanted: EST names none for TLS 1.3.

        Raises RemoteProtocolError("pop/no-binding") where no version would help.
        """
        if not self._must_link or channel.binding is not None:
            return False
        if channel.version is not TlsVersion.TLS_1_3:
            raise RemoteProtocolError(
                "pop/no-binding",
                "proof of possession must be linked, and this connection has no channel binding"
                f"{'' if channel.extended_master_secret else _WITHOUT_EMS}; nothing was sent on it",
                Fault.FORBIDDEN,
            )
        return True

    def for_channel(self, channel: Channel) -> bytes | SignatureRequested:
        """Return the CSR to send on this channel, or the question for its signature.

        Raises RemoteProtocolError for somebody else's CSR that is not for this channel.
        """
        if isinstance(self.asked, CertRequest):
            check_foreign(self.asked, channel, required=self._must_link)
            return self.asked.der
        if self._signed is not None and self._signed[0] == self._wanted_binding(channel):
            return self._signed[1]
        return self._question(self.asked, channel)

    def signed(self, signature: bytes, channel: Channel) -> bytes:
        """Return the CSR that was asked about for this channel, with that signature.

        Raises LocalProtocolError for one that does not verify.
        """
        if self._algorithm is None:
            raise LocalProtocolError("no signature is wanted")
        try:
            der = assemble(self._tbs, self._algorithm, signature, self._limits)
            valid = signature_is_valid(parse_cert_request(der, self._limits))
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"the CSR is not valid: {error.message}") from error
        if not valid:
            raise LocalProtocolError("the signature does not verify with the CSR's key")
        self._signed = (self._wanted_binding(channel), der)
        return der

    def _question(self, info: CertRequestInfo, channel: Channel) -> SignatureRequested:
        for oid in LINKING:  # of another channel, if it is there
            info = info.without_attribute(oid)
        if self._code is not None:
            info = info.without_attribute(self._code.type).with_attribute(self._code)
        binding = self._wanted_binding(channel)
        if binding is not None:
            for oid in self._linking_attributes:
                info = info.with_attribute(challenge_attribute(oid, linking_text(binding)))
        if self._algorithm is None:
            raise LocalProtocolError("a CSR to be signed has an algorithm")
        self._tbs = info.der()
        return SignatureRequested(tbs=self._tbs, algorithm=self._algorithm)

    def _wanted_binding(self, channel: Channel) -> ChannelBinding | None:
        never = self._pop is PopMode.NEVER or not self._linking_attributes
        return None if never else channel.binding
