"""The CSR of a client exchange: signed anew, by the same key, for each channel. RFC 7030 3.5.

A CSR that carries the binding of one channel is worth nothing on another, so what is kept here is
what the CSR says, and the last signature only for as long as its binding holds.
"""

from __future__ import annotations

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core._oids import CHALLENGE_PASSWORD
from est_core.asn1.attributes import challenge_attribute
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
from est_core.events import SignatureRequested


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
        pop: PopMode,
        limits: Limits,
    ) -> None:
        """Raise LocalProtocolError for a key that cannot be used with `algorithm`."""
        csr = given_request(csr)
        self.spki: bytes = csr.spki
        self.asked: CertRequest | CertRequestInfo = csr
        self._algorithm = algorithm
        if isinstance(csr, CertRequestInfo):
            self.spki, self._algorithm = signing(csr, algorithm, limits)
        self._pop = pop
        self._limits = limits
        self._must_link = pop is PopMode.ALWAYS or (
            pop is PopMode.AUTO and csrattrs is not None and csrattrs.requires_linking
        )
        self._linking_attribute = (
            csrattrs and csrattrs.linking_attribute
        ) or CHALLENGE_PASSWORD  # RFC 7894 4: estIdentityLinking alone where it is listed
        self._tbs = b""
        self._signed: tuple[ChannelBinding | None, bytes] | None = None

    def needs_older_tls(self, channel: Channel) -> bool:
        """True if only TLS 1.2 has the binding that is wanted: EST names none for TLS 1.3.

        Raises RemoteProtocolError("pop/no-binding") where no version would help.
        """
        if not self._must_link or channel.binding is not None:
            return False
        if channel.version is not TlsVersion.TLS_1_3:
            raise RemoteProtocolError(
                "pop/no-binding",
                "proof of possession must be linked, and this connection has no channel binding",
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
        if (binding := self._wanted_binding(channel)) is not None:
            text = linking_text(binding)
            info = info.with_attribute(challenge_attribute(self._linking_attribute, text))
        if self._algorithm is None:
            raise LocalProtocolError("a CSR to be signed has an algorithm")
        self._tbs = info.der()
        return SignatureRequested(tbs=self._tbs, algorithm=self._algorithm)

    def _wanted_binding(self, channel: Channel) -> ChannelBinding | None:
        return None if self._pop is PopMode.NEVER else channel.binding
