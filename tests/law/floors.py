"""The floors of the house: which module may import which. The only place that says so.

A floor is a tuple of ranks, a rank a line of module names. A module imports from lower floors
and from lower ranks of its own floor; modules of one rank do not know each other. `name.*` is
everything inside a package, in any order that has no cycle.
"""

from __future__ import annotations

from typing import Final

Floor = tuple[str, ...]

CORE_FLOORS: Final[tuple[Floor, ...]] = (
    # F0: what everything may use. credentials are plain values that codec.authheader reads.
    ("_errors _oids", "arguments", "credentials error_codes error_codes.*", "_limits _instant"),
    # F1: DER, what it is and where it stands; bytes of HTTP bodies and headers.
    (
        "codec codec._grammar asn1 asn1.oid_names",
        "asn1._der",
        "asn1.kinds",
        "codec.textual",
        "codec.transfer codec.media codec.retry codec.authheader codec.multipart_core",
    ),
    # F2: facts about a channel; what is written in DER.
    (
        "channel",
        "asn1.keys asn1.distinguished_name",
        "asn1.attributes asn1.request_signature",
        "asn1.requested asn1.certificate_extensions",
        "asn1.pkcs10 asn1.certificates",
        "asn1.cms",
        "asn1.template",
        "asn1.csrattrs",
    ),
    # F3: judgements.
    (
        "checks",
        "checks.hosts",
        "checks.names",
        "checks.constraints checks.pop checks.renewal checks.identity",
        "checks.enforcement checks.issued",
    ),
    # F4: the words of the protocol.
    ("model enrollment", "uri policy", "decisions", "events"),
    # F5: tables, the halves of the machines that need no state, and the maps to wires.
    (
        "_tables _error_text _path_faults _http _coap _link_format _admission _linked_csr",
        "_answers _discovery _http_target _coap_paths",
        "_login",
        "httpmap coapmap",
    ),
    # F6: the two state machines. They do not know each other.
    ("server client",),
    # F7: what people import.
    ("", "testing._pair testing._misuse", "testing._transport", "testing"),
)

TRANSPORT_FLOORS: Final[tuple[Floor, ...]] = (
    # T0: clocks, private names of OpenSSL, what an application is.
    (
        "_clock _openssl error_codes error_codes.* der_walk names networks fair_queue",
        "connection_places handshake_turns question_turns",
        "fair_pool",
        "flaws tls_errors toml_tables",
        "hosts log_output ownership serials systemd",
        "signers host_names peer_certificates library_warnings",
        "credential_files",
        "application path_problems trust",
    ),
    # T1: bytes of channels, sans-I/O.
    (
        "chunks",
        "verification h11_messages coap_limits dtls_records dtls_cookies dtls_limits dtls_events",
        "dtls_unverified",
        "channel_facts coap_messages chains",
        "tls_context coap_blocks coap_reliability",
        "dtls_context coap_server_blocks coap_client_blocks",
        "tls dtls h11_conn coap_server_conn coap_client_conn",
        "dtls_mux",
        "datagram_turns",
        "service http_service",
        "coap_records coap_service coap_questions",
        "http_server errand coap_server coap_places",
        "http_client coap_client",
    ),
    # T2: I/O.
    (
        "stores peek unserved",
        "stores.right_lately",
        "stores.passwords",
        "stores.sqlite_place",
        "stores.sqlite_schema",
        "stores.sqlite_connections",
        "stores.sqlite",
        "trio_tls trio_dtls asyncio_tls asyncio_dtls sockets_dtls sockets_tls",
        "trio_threads trio_places asyncio_questions asyncio_places",
        "trio_arrivals",
        "trio_coap trio_server asyncio_coap asyncio_server",
        "sockets_coap sockets_connection aiocoap_messages",
        "sockets_server",
        "sockets_ssl",
        "on_sockets on_trio on_asyncio on_aiocoap",
    ),
    # T3: services.
    (
        "profile_names config_text new_directory observe terms",
        "profiles",
        "issuer_limits",
        "refca config",
        "config_reader issuers renewal_records",
        "authority founding",
        "readiness",
        "serving",
        "running watch",
    ),
    # T4: people.
    ("cli cli.*", "__main__"),
    # Nobody imports the package itself.
    ("",),
)
