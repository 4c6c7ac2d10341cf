"""EST (RFC 7030) without I/O: requests, responses and the machines between them.

Bring your own transport: turn bytes into a `Request` (`est_core.wires.httpmap`,
`est_core.wires.coapmap`), give it to a `ServerSession` with the facts of the `Channel` it came on,
answer the events, send the `Response`. A client runs the other way round with a `ClientSession`.
"""

from est_core._errors import Fault, LocalProtocolError, ProtocolError, RemoteProtocolError
from est_core._instant import Entropy, Instant
from est_core._limits import Limits
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_core.auth.digest import DigestAlgorithm, digest_proves
from est_core.auth.scheme import DigestScheme
from est_core.channel import (
    BindingKind,
    CertificateFailure,
    Channel,
    ChannelBinding,
    TlsVersion,
    TrustClass,
)
from est_core.checks.allowed_names import AllowedNames
from est_core.checks.enforcement import Unmet
from est_core.checks.manufacturers import FieldKind, IdentityField, Manufacturer
from est_core.checks.pop import LinkWith, PopMode
from est_core.client.enrollment import renewal_request_info, request_info, unmet_by
from est_core.client.exchange import ClientExchange
from est_core.client.session import ClientSession
from est_core.credentials import (
    AuthChallenge,
    AuthScheme,
    BasicCredentials,
    BearerCredentials,
    CodeCredentials,
    CodeSource,
    Credentials,
    DigestCredentials,
    Login,
    MalformedCredentials,
    ManufacturerIdentity,
    Password,
)
from est_core.decisions import (
    Challenge,
    Counted,
    Decision,
    Deny,
    Fail,
    Issue,
    Pend,
    Postpone,
    Rejected,
    Replayed,
    Verified,
)
from est_core.events import (
    AuthenticateRequested,
    CACertsReceived,
    ClientEvent,
    ClientIdentity,
    ClientResult,
    ConnectRequested,
    CredentialsRequested,
    CSRAttrsReceived,
    Enrolled,
    Failed,
    NonceUseRequested,
    Received,
    RedirectRequested,
    RenewalInfoReceived,
    ResponseReady,
    RetryLater,
    SendRequest,
    ServerEvent,
    ServerQuestion,
    SignatureRequested,
    TrustDecisionRequested,
)
from est_core.model import (
    Challenged,
    Label,
    NotAvailable,
    Part,
    Pending,
    Redirected,
    Refused,
    Request,
    Response,
    Success,
    UnreadablePayload,
)
from est_core.operation import (
    Authentication,
    CoapAnswer,
    CoapRow,
    HttpRow,
    NotOnWire,
    Operation,
    Outcome,
    PartRow,
)
from est_core.operations._naming import AllowNames, NamesRequested
from est_core.operations.cacerts import CACERTS, CACertsRequested, ProvideCACerts
from est_core.operations.csrattrs import (
    CSRATTRS,
    CSRAttrsPurpose,
    CSRAttrsRequested,
    ProvideCSRAttrs,
)
from est_core.operations.defaults import OPERATIONS, default_policy
from est_core.operations.definition import Asking, Inquiry, OperationDefinition, Reading
from est_core.operations.renewal_info import RENEWAL_INFO, ProvideRenewalInfo, RenewalInfoRequested
from est_core.operations.simpleenroll import SIMPLEENROLL, EnrollRequested
from est_core.operations.simplereenroll import SIMPLEREENROLL, ReenrollRequested
from est_core.policy import (
    ChangedNames,
    ForeignChallenge,
    NameRule,
    PolicyRow,
    RevocationChallenge,
    ServerPolicy,
)
from est_core.refusal_tag import RefusalTag, new_refusal_id, read_refusal_id
from est_core.renewal_window import RenewalWindow
from est_core.server.exchange import ServerExchange, ServerSession
from est_core.uri import EstUri
from est_core.wires import coapmap, httpmap

__version__ = "0.1.0"

__all__ = [
    "CACERTS",
    "CSRATTRS",
    "OPERATIONS",
    "RENEWAL_INFO",
    "SIMPLEENROLL",
    "SIMPLEREENROLL",
    "AllowNames",
    "AllowedNames",
    "Asking",
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
    "CertificateFailure",
    "Challenge",
    "Challenged",
    "ChangedNames",
    "Channel",
    "ChannelBinding",
    "ClientEvent",
    "ClientExchange",
    "ClientIdentity",
    "ClientResult",
    "ClientSession",
    "CoapAnswer",
    "CoapRow",
    "CodeCredentials",
    "CodeSource",
    "ConnectRequested",
    "Counted",
    "Credentials",
    "CredentialsRequested",
    "CsrAttrs",
    "Decision",
    "Deny",
    "DigestAlgorithm",
    "DigestCredentials",
    "DigestScheme",
    "EnrollRequested",
    "Enrolled",
    "Entropy",
    "EstUri",
    "Fail",
    "Failed",
    "Fault",
    "FieldKind",
    "ForeignChallenge",
    "HttpRow",
    "IdentityField",
    "Inquiry",
    "Instant",
    "Issue",
    "Label",
    "Limits",
    "LinkWith",
    "LocalProtocolError",
    "Login",
    "MalformedCredentials",
    "Manufacturer",
    "ManufacturerIdentity",
    "NameRule",
    "NamesRequested",
    "NonceUseRequested",
    "NotAvailable",
    "NotOnWire",
    "Operation",
    "OperationDefinition",
    "Outcome",
    "Part",
    "PartRow",
    "Password",
    "Pend",
    "Pending",
    "PolicyRow",
    "PopMode",
    "Postpone",
    "ProtocolError",
    "ProvideCACerts",
    "ProvideCSRAttrs",
    "ProvideRenewalInfo",
    "Reading",
    "Received",
    "RedirectRequested",
    "Redirected",
    "ReenrollRequested",
    "RefusalTag",
    "Refused",
    "Rejected",
    "RemoteProtocolError",
    "RenewalInfoReceived",
    "RenewalInfoRequested",
    "RenewalWindow",
    "Replayed",
    "Request",
    "Response",
    "ResponseReady",
    "RetryLater",
    "RevocationChallenge",
    "SendRequest",
    "ServerEvent",
    "ServerExchange",
    "ServerPolicy",
    "ServerQuestion",
    "ServerSession",
    "SignatureAlgorithm",
    "SignatureRequested",
    "Success",
    "TlsVersion",
    "TrustClass",
    "TrustDecisionRequested",
    "Unmet",
    "UnreadablePayload",
    "Verified",
    "__version__",
    "coapmap",
    "default_policy",
    "digest_proves",
    "httpmap",
    "new_refusal_id",
    "read_refusal_id",
    "renewal_request_info",
    "request_info",
    "unmet_by",
]
