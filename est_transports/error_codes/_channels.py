"""The error codes of connections, TLS and DTLS."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

CHANNELS: Final = (
    Section(
        title="The client's findings",
        codes=(
            ErrorCode(
                code="connect/unknown-host",
                cause="there is no host of that name",
                remedy="check the name of the host",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="connect/refused",
                cause="nobody listens on that port",
                remedy="check host and port; is the server running?",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="connect/timeout",
                cause="no answer in time",
                remedy="check host and port, or wait longer with `--timeout`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="connect/unreachable",
                cause="any other failure to connect",
                remedy="check the network: address, route and firewall",
                audience=Audience.USER,
            ),
        ),
    ),
    Section(
        title="Proxies",
        codes=(
            ErrorCode(
                code="proxy/unknown-host",
                cause="there is no host of the proxy's name",
                remedy="check the name of the proxy: that of `--proxy`, or of the environment",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/unreachable",
                cause="the proxy cannot be reached",
                remedy="check the proxy's host and port: is it running, and for this machine?",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/timeout",
                cause="the proxy did not open the tunnel in time",
                remedy="check the proxy's host and port, or wait longer with `--timeout`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/closed",
                cause="the proxy closed the connection before the tunnel was open",
                remedy="check the proxy's scheme and port; its log may say why it closed",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/malformed",
                cause="what answered does not speak the proxy's protocol",
                remedy="check the proxy's scheme and port: `http` and `socks5` are not the same",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/login-required",
                cause="the proxy wants a login, and the client has none for it",
                remedy="give the proxy's user, `USER@HOST:PORT`, and `--proxy-password-file`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/login-refused",
                cause="the proxy refuses the user or the password",
                remedy="check the proxy's user and password",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/login-scheme",
                cause="the proxy wants a login by a way that is not supported, such as NTLM",
                remedy="ask the proxy's operator for Basic or Digest, or a way without a login",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/refused",
                cause="the proxy does not let the client through to that server",
                remedy="ask the proxy's operator to allow CONNECT to the server's host and port",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/no-tunnel",
                cause="the proxy opens no tunnels",
                remedy="find a proxy that knows CONNECT: without a tunnel it would read all",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/server-unreachable",
                cause="the proxy does not reach the server, or not in time",
                remedy="check the server's host and port as the proxy sees them; its log says more",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/status",
                cause="the proxy answers with a status that opens no tunnel and says nothing else",
                remedy="read the status in the text; the proxy's log says more",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/target",
                cause="the proxy cannot be asked for this host: SOCKS4 has no IPv6, for one",
                remedy="use `http`, `socks5` or `socks5h`, and a host name or an address",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/unasked-bytes",
                cause="the proxy sent bytes of its own into the tunnel",
                remedy="take another proxy: what it sent would have been read as the server's",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="proxy/no-datagrams",
                cause="the server is spoken to by UDP, and no proxy passes that on",
                remedy="use https:// through the proxy, or coaps:// without",
                audience=Audience.USER,
            ),
        ),
    ),
    Section(
        title="TLS",
        codes=(
            ErrorCode(
                code="tls/not-tls",
                cause="the peer's first bytes are no TLS record: plain HTTP, most often",
                remedy="check the port: one end does not speak TLS on it",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/version",
                cause="no protocol version in common",
                remedy="allow TLS 1.2 or 1.3 at both ends: older versions are never spoken",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="tls/no-shared-cipher",
                cause="no cipher suite, group or signature algorithm in common",
                remedy=(
                    "allow ECDHE with AES-GCM, P-256 and SHA-256 at both ends, and give the "
                    "server a P-256 or RSA key"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="tls/untrusted-server",
                cause="the client does not trust the server's certificate",
                remedy="name the CA that certified the server with `--trust CA.pem`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/peer-refused-certificate",
                cause="the peer refuses our certificate, or misses one",
                remedy=(
                    "check the certificate shown: the other end must trust the CA that issued it, "
                    "and its log says why it does not"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/bad-signature",
                cause="the peer did not prove possession of its certificate's key",
                remedy="check that the peer's certificate and key belong together",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/bad-certificate",
                cause="a certificate of the peer is no DER, or it sent too many",
                remedy=(
                    "replace the certificate or chain at the end that sent it; `openssl x509 "
                    "-text` shows what is wrong"
                ),
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="tls/no-certificate",
                cause="the client showed no certificate, which EST-coaps requires of every one",
                remedy="give the client a certificate: with `est`, `--cert` and `--key`",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/timeout",
                cause="the handshake took too long",
                remedy=(
                    "check the network; a peer that connects and says nothing ends like this too"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/handshake-too-large",
                cause="the peer sent more than a handshake needs",
                remedy="shorten the certificate chain of the end that sent it",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="tls/handshake",
                cause="any other failure of a handshake",
                remedy=(
                    "read the text, which has the TLS library's reason; the log of the other "
                    "end says more"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/srp-refused",
                cause="TLS-SRP with a wrong password, or a name that the server does not know",
                remedy="check name and password; ask the operator of the server about the name",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/srp-throttled",
                cause=(
                    "too many attempts of TLS-SRP have failed from that address, for that name or "
                    "altogether, or the server wants a larger group"
                ),
                remedy="wait, and try again with the right password",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/protocol",
                cause="broken or forged record after the handshake",
                remedy=(
                    "try again; if it happens each time, look for a device in between that "
                    "changes packets"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/truncated",
                cause="the connection ended without close_notify: what came may be incomplete",
                remedy="try again; if it happens each time, have the other end close TLS properly",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/closed",
                cause="the peer went away during the handshake",
                remedy="check host and port, and look into the peer's log for why it closed",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="tls/no-room",
                cause="it gave way to other connections before it could be served",
                remedy=(
                    "raise `server.half_open_max` or `server.connections_max`, or find who opens "
                    "so many"
                ),
                audience=Audience.OPERATOR,
            ),
        ),
    ),
    Section(
        title="DTLS",
        note=(
            "The codes of TLS mean the same. These say why an association of a server "
            "ended, or a handshake with it, where nothing went wrong; none is ever "
            "shown to the client."
        ),
        codes=(
            ErrorCode(
                code="dtls/closed",
                cause="the client said close_notify",
                remedy="nothing: the client was done",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="dtls/idle",
                cause="nothing was said for `DtlsLimits.idle_s`",
                remedy="nothing: the client makes a new association for its next request",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="dtls/replaced",
                cause=(
                    "the client began anew from the same address, with a handshake that succeeded"
                ),
                remedy="nothing, but if a device does so often, find out why it restarts",
                audience=Audience.OPERATOR,
            ),
            ErrorCode(
                code="dtls/no-room",
                cause=(
                    "it gave way to a newer one, or none could to it, or it was not verified and "
                    "too many of its host were not"
                ),
                remedy=(
                    "raise `coap.associations_max` or `coap.unverified_per_host`, or find who "
                    "opens so many"
                ),
                audience=Audience.OPERATOR,
            ),
        ),
    ),
)
