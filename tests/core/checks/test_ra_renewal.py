"""A registration authority asks for renewals of others: who may, and what is asked then."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from est_core import (
    SIMPLEREENROLL,
    Authentication,
    ClientSession,
    EstUri,
    Instant,
    LocalProtocolError,
    Outcome,
    PolicyRow,
    ReenrollRequested,
    Request,
    Response,
    ServerPolicy,
    TrustClass,
)
from est_core.asn1.attributes import ChangeSubjectName
from tests.application import FakeApplication
from tests.core.cast import channel, csr_der, finish, info, receive, sign
from tests.pki import CMC_RA, Entity, Subject, common_name, new_key, pki
from tests.registration import ras

RA = pki().ca.issue(Subject(name="ra", eku=(CMC_RA,)))
NO_RA = pki().ca.issue(Subject(name="ra", eku=None))
TRUSTS = (TrustClass.EXPLICIT, TrustClass.IMPLICIT)


def asked(
    payload: bytes,
    now: Instant,
    *,
    peer: Entity = RA,
    trust: TrustClass = TrustClass.EXPLICIT,
    listed: bool = True,
) -> tuple[Response, ReenrollRequested | None]:
    """Return the answer, and what the application was asked."""
    row = PolicyRow(
        operation=SIMPLEREENROLL,
        authentication=Authentication.CERT,
        certificate_trust=frozenset(TRUSTS),
        registration_authorities=ras(peer) if listed else ras(),
    )
    application = FakeApplication()
    request = Request(operation=SIMPLEREENROLL, payload=payload)
    on = channel(trust, peer=peer)
    response = finish(receive(request, now, on=on, policy=ServerPolicy(rows=(row,))), application)
    question = application.asked[0] if application.asked else None
    assert question is None or isinstance(question, ReenrollRequested)
    return response, question


@pytest.mark.req("EST-089", "EST-158")
def test_an_ra_asks_for_the_renewal_of_another_and_which_is_for_the_application(
    now: Instant,
) -> None:
    response, question = asked(csr_der(name="device-1"), now)
    assert response.outcome is Outcome.OK
    assert question is not None
    assert question.identity.is_ra
    assert question.identity.certificate == RA.certificate
    assert (question.current, question.rekey) == (None, None)


@pytest.mark.req("EST-092")
def test_the_request_of_an_ra_is_signed_with_its_own_key_like_any_other(now: Instant) -> None:
    response, question = asked(sign(info(new_key(), "device-1"), new_key()), now)
    assert (response.code, question) == ("csr/bad-signature", None)


@pytest.mark.req("EST-158")
@pytest.mark.parametrize("same_key", [True, False])
def test_an_ra_renews_its_own_certificate_as_before(now: Instant, same_key: bool) -> None:
    key = RA.key if same_key else new_key()
    _, question = asked(sign(info(key, "ra"), key), now)  # type: ignore[arg-type]  # P-256
    assert question is not None
    assert (question.current, question.rekey) == (RA.certificate, not same_key)


@pytest.mark.req("EST-089", "EST-090", "EST-092")
@pytest.mark.parametrize(
    "peer, trust, listed",
    [
        (RA, TrustClass.EXPLICIT, False),
        (RA, TrustClass.IMPLICIT, True),
        (NO_RA, TrustClass.EXPLICIT, True),
    ],
    ids=["no opt-in", "another CA's", "no purpose"],
)
def test_nobody_else_renews_for_another(
    now: Instant, peer: Entity, trust: TrustClass, listed: bool
) -> None:
    payload = csr_der(name="device-1")
    response, question = asked(payload, now, peer=peer, trust=trust, listed=listed)
    assert response.code == "renewal/subject"
    assert question is None


def test_an_ra_does_not_change_names_either(now: Instant) -> None:
    key = new_key()
    change = ChangeSubjectName(subject=common_name("other")).attribute()
    response, question = asked(sign(info(key).with_attribute(change), key), now)
    assert response.code == "renewal/change-subject-name"
    assert question is None


@pytest.mark.parametrize("identity, refused", [(RA, False), (NO_RA, True)])
def test_the_clients_session_lets_an_ra_ask_for_another(identity: Entity, refused: bool) -> None:
    session = ClientSession(EstUri.parse("https://est.example"), identity=identity.certificate)
    expected = pytest.raises(LocalProtocolError, match="no request for renewal")
    with expected if refused else nullcontext():
        session.reenroll(info(new_key(), "device-1"))
