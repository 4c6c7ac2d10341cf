"""Applications of tests: a CA of `tests.pki` that issues to everybody, and knows one password."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import (
    AuthenticateRequested,
    BasicCredentials,
    CACertsRequested,
    CSRAttrsRequested,
    Decision,
    EnrollRequested,
    Issue,
    Pend,
    ProvideCACerts,
    ProvideCSRAttrs,
    ReenrollRequested,
    Rejected,
    ServerQuestion,
    Verified,
)
from est_core.asn1.attributes import Extension
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequest
from est_core.testing import Answer, AsyncScriptedApplication, ScriptedApplication, in_turn
from tests.pki import HOUR_AGO, IN_TEN_YEARS, Authority, common_name, pki

USER: Final = "alice"
PASSWORD: Final = "correct horse"
GOOD: Final = BasicCredentials(user=USER, password=PASSWORD)
WRONG: Final = BasicCredentials(user=USER, password="guess")

Enrollment = EnrollRequested | ReenrollRequested


def issue(
    spki: bytes,
    subject: x509.Name | None = None,
    issuer: Authority | None = None,
    extensions: Iterable[Extension] = (),
) -> x509.Certificate:
    """Return a certificate for that key."""
    issuer = issuer or pki().ca
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name("issued") if subject is None else subject)
        .issuer_name(issuer.name)
        .public_key(load_der_public_key(spki))  # type: ignore[arg-type]  # any certifiable key
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
    )
    for each in extensions:
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(each.oid), each.value)
        builder = builder.add_extension(value, critical=each.critical)
    return builder.sign(issuer.key, hashes.SHA256())


def certificate_for(csr: CertRequest, issuer: Authority | None = None) -> x509.Certificate:
    """Return what a CA that looks at nothing issues for a CSR."""
    return issue(csr.spki, csr.subject, issuer, csr.extensions)


def _verify(question: AuthenticateRequested) -> Decision:
    return Verified(user=USER) if question.credentials == GOOD else Rejected()


class FakeApplication(ScriptedApplication):
    """Answers every question well: it issues to everybody, and knows one password.

    `answers` go before its own. `before` is called first whatever is asked, and may raise or wait.
    `csrattrs`, `ca_certificates` and `certify` say what it answers, and may be changed.
    `issued` are the certificates that it made, and `threads` are those that asked.
    """

    def __init__(
        self,
        answers: Mapping[type[ServerQuestion], Answer] | None = None,
        *,
        csrattrs: CsrAttrs | None = None,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        usual: dict[type[ServerQuestion], Answer] = {
            AuthenticateRequested: _verify,
            CACertsRequested: lambda _: ProvideCACerts(certificates=self.ca_certificates),
            CSRAttrsRequested: lambda _: ProvideCSRAttrs(csrattrs=self.csrattrs),
            EnrollRequested: self.issue,
            ReenrollRequested: self.issue,
        }
        super().__init__({**usual, **(answers or {})})
        self.before, self.csrattrs = before, csrattrs
        self.ca_certificates: tuple[x509.Certificate, ...] = (pki().ca.certificate,)
        self.certify: Callable[[CertRequest], x509.Certificate] = certificate_for
        self.issued: list[x509.Certificate] = []
        self.threads: set[int] = set()

    def decide(self, question: ServerQuestion) -> Decision:
        """Answer, after `before`."""
        self.threads.add(threading.get_ident())
        self.before()
        return super().decide(question)

    def issue(self, question: Enrollment) -> Decision:
        """Issue what is asked for."""
        self.issued.append(self.certify(question.csr))
        return Issue(certificate=self.issued[-1])

    def decide_enrollments(self, answer: Answer) -> None:
        """Answer enrollments and renewals so from now on."""
        self.answers |= dict.fromkeys((EnrollRequested, ReenrollRequested), answer)

    def pend(self, *retry_after_s: int) -> None:
        """Have the next ones wait so long, each once, and issue after that."""
        pending = [Pend(retry_after_s=each) for each in retry_after_s]
        self.decide_enrollments(in_turn(*pending, self.issue))

    @property
    def enrollments(self) -> list[Enrollment]:
        """The enrollments and renewals that were asked for."""
        return [each for each in self.asked if isinstance(each, Enrollment)]


async def _at_once() -> None:
    """Wait for nothing."""


class AsyncFakeApplication(AsyncScriptedApplication):
    """A FakeApplication for event loops. `before` is awaited first, and may raise or wait."""

    application: FakeApplication

    def __init__(
        self,
        before: Callable[[], Awaitable[None]] = _at_once,
        application: FakeApplication | None = None,
    ) -> None:
        super().__init__(application or FakeApplication(), self._after)
        self.before = before

    async def _after(
        self, decide: Callable[[ServerQuestion], Decision], question: ServerQuestion
    ) -> Decision:
        await self.before()
        return decide(question)


class HalfAsync(FakeApplication):
    """One method is a coroutine function, which is a mistake."""

    async def enroll(  # type: ignore[override]  # that is the mistake
        self, question: EnrollRequested
    ) -> Decision:
        """Issue."""
        return self.issue(question)
