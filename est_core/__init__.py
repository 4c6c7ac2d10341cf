"""EST (RFC 7030) without I/O: requests, responses and the machines between them.

Bring your own transport: turn bytes into a `Request` (`est_core.httpmap`, `est_core.coapmap`),
give it to a `ServerSession` with the facts of the `Channel` it came on, answer the events, send the
`Response`. A client runs the other way round with a `ClientSession`.
"""

from est_core import coapmap, httpmap
from est_core._errors import Fault, LocalProtocolError, ProtocolError, RemoteProtocolError
from est_core._instant import Entropy, Instant
from est_core._limits import Limits
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_core.channel import BindingKind, Channel, ChannelBinding, TlsVersion, TrustClass
from est_core.checks.pop import PopMode
from est_core.client import ClientExchange, ClientSession
from est_core.credentials import (
    AuthChallenge,
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    Credentials,
    DigestCredentials,
    MalformedCredentials,
)
from est_core.decisions import (
    Challenge,
    Decision,
    Deny,
    Fail,
    Issue,
    Pend,
    Postpone,
    ProvideCACerts,
    ProvideCSRAttrs,
    Rejected,
    Verified,
)
from est_core.enrollment import renewal_info, request_info
from est_core.events import (
    AuthenticateRequested,
    CACertsReceived,
    CACertsRequested,
    ClientEvent,
    ClientIdentity,
    ClientResult,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsPurpose,
    CSRAttrsReceived,
    CSRAttrsRequested,
    Enrolled,
    EnrollRequested,
    Failed,
    RedirectRequested,
    ReenrollRequested,
    ResponseReady,
    RetryLater,
    SendRequest,
    ServerEvent,
    ServerQuestion,
    SignatureRequested,
    TrustDecisionRequested,
)
from est_core.model import (
    OPERATIONS,
    Authentication,
    Label,
    Operation,
    OperationRow,
    Outcome,
    Part,
    PartKind,
    Request,
    Response,
    UnreadablePayload,
)
from est_core.policy import ForeignChallenge, PolicyRow, ServerPolicy, default_policy
from est_core.server import ServerExchange, ServerSession
from est_core.uri import EstUri

__version__ = "0.1.0"

__all__ = [
    "OPERATIONS",
    "AuthChallenge",
    "AuthScheme",
    "AuthenticateRequested",
    "Authentication",
    "BasicCredentials",
    "BearerCredentials",
    "BindingKind",
    "CACertsReceived",
    "CACertsRequested",
    "CSRAttrsPurpose",
    "CSRAttrsReceived",
    "CSRAttrsRequested",
    "CertRequest",
    "CertRequestInfo",
    "Challenge",
    "Channel",
    "ChannelBinding",
    "ClientEvent",
    "ClientExchange",
    "ClientIdentity",
    "ClientResult",
    "ClientSession",
    "ConnectRequested",
    "Credentials",
    "CredentialsRequested",
    "CsrAttrs",
    "Decision",
    "Deny",
    "DigestCredentials",
    "EnrollRequested",
    "Enrolled",
    "Entropy",
    "EstUri",
    "Fail",
    "Failed",
    "Fault",
    "ForeignChallenge",
    "Instant",
    "Issue",
    "Label",
    "Limits",
    "LocalProtocolError",
    "MalformedCredentials",
    "Operation",
    "OperationRow",
    "Outcome",
    "Part",
    "PartKind",
    "Pend",
    "PolicyRow",
    "PopMode",
    "Postpone",
    "ProtocolError",
    "ProvideCACerts",
    "ProvideCSRAttrs",
    "RedirectRequested",
    "ReenrollRequested",
    "Rejected",
    "RemoteProtocolError",
    "Request",
    "Response",
    "ResponseReady",
    "RetryLater",
    "SendRequest",
    "ServerEvent",
    "ServerExchange",
    "ServerPolicy",
    "ServerQuestion",
    "ServerSession",
    "SignatureAlgorithm",
    "SignatureRequested",
    "TlsVersion",
    "TrustClass",
    "TrustDecisionRequested",
    "UnreadablePayload",
    "Verified",
    "__version__",
    "coapmap",
    "default_policy",
    "httpmap",
    "renewal_info",
    "request_info",
]
