"""The est.toml that `est init` writes: every key, explained, at its default."""

from __future__ import annotations

from typing import Final

CONFIG_TEXT: Final = """\
# Configuration of an EST server. `est serve` reads it; SIGHUP makes it read it again.
# Every key is shown with its default: remove the # before it to change it. A lone "none" in
# the text beside it means that there is no value until you give one.
# Paths start at the directory of this file.
# A key, table or word that is not known here stops the start.

[server]                          # but for realm and stop_s, changes need a restart
#listen = "127.0.0.1:8443"       # HOST:PORT, [IPV6]:PORT; 0.0.0.0 is every IPv4 address
#realm = "est"                   # shown by clients that ask for a password
#workers = 1                     # processes
#threads = 8                     # requests decided at once in one process
#connections_max = 256           # open at once in one process; others wait
#half_open_max = 4096            # before their handshake is over, besides
#stop_s = 10.0                   # SIGTERM: how long requests under way may take

[auth]                            # "open", "cert", "http", "cert-or-http", "cert-and-http"
#cacerts = "open"
#csrattrs = "open"
#simpleenroll = "cert-or-http"
#simplereenroll = "cert"         # or "cert-and-http": the certificate to be renewed is shown
#require_pop = false             # link every request to its TLS connection (RFC 7030 3.5)
#enforce_csrattrs = false        # refuse requests that lack what [csrattrs] asks for
#names = "identity"              # a client's own; "registered": `est device add`; "any"
#renew_expired_days = 0          # for how long a certificate may be renewed after it expired
#changed_names = "registered"    # what a renewal may be renamed to; "refuse": nothing; "any"
#schemes = ["basic"]             # where "http" counts: "basic", "digest", "bearer", "otp"
#digest_algorithms = ["MD5", "SHA-256"]     # "SHA-512-256"; one that reads one only knows MD5
#nonce_s = 300                   # how long a nonce of Digest is good
#wrong_per_user = 10             # wrong passwords of a user from one network; then 503; 0: no bound
#wrong_per_network = 100         # those of all users from one network
#unknown_per_network = 0         # tokens and codes from one network that nobody knows
#wrong_s = 600                   # the time over which these are forgiven
#secret = "auth-secret.key"      # what nonces, tokens and codes are hashed with

[srp]                             # TLS-SRP (RFC 5054): by name and password, without certificates
#enabled = false                 # on the same port; `est srp add` makes users; TLS 1.2
#bits = 2048                     # the smallest group: 1536, 2048, 3072, 4096

[pop]
#foreign_challenge = "refuse"    # "code": a challengePassword may be a one-time code; "ignore"
#require_ems = true              # TLS 1.2 links with extended master secret only
#tls_exporter = false            # link on TLS 1.3 too (RFC 9266); tell the clients the same
#revocation_challenge = "ignore" # "refuse": nobody here would keep that password (RFC 7894)
#list_identity_linking = false   # ask for estIdentityLinking (RFC 7894), as old clients do not know

[tls]
#certificate = "server.pem"      # with its intermediates
#key = "server-key.pem"
#client_trust = []               # other CAs whose certificates may enroll
#max_version = "1.3"             # "1.2" or "1.3"; with require_pop it is 1.2 by itself
#resumption = false

# Manufacturers' devices enroll by the certificates that they came with, each under its own name.
#[manufacturers.acme]
#trust = ["acme.pem"]            # the manufacturer's CAs, in PEM; none
#field = "serialNumber"          # which device it is: "hardwareModuleName", "otherName:OID" ...
#csr_field = "serialNumber"      # where a request has to carry the same value; none
#accept_expired = false          # certificates that have expired count too

[crls]                            # revocation lists for clients; read again when they change
#files = []                      # in PEM or DER
#missing_at_start = "refuse"     # a CA trusted beside this one has none: no start; "warn"
#stale_at_start = "warn"         # "refuse": no start with a list past its nextUpdate
#missing_in_requests = "refuse"  # an issuer in a client's path has none: 403; "warn": accepted
#stale_in_requests = "refuse"    # the list is past its nextUpdate: 403; "warn": accepted

[crl]                             # lists of what this CA revoked: `est certs revoke`, `est crl`
#enabled = true                  # make them while serving: at once after a revocation
#directory = "crl"               # of the newest list: KEY.crl, with the identifier of the CA's key
#validity_hours = 168            # how long a list is good
#every_hours = 24                # how often one is made though nothing was revoked

[ra]                              # registration authorities: they may send requests of others
#certificates = []               # theirs, of this CA, for id-kp-cmcRA; the subject counts
#fingerprints = []               # SHA-256, each of one certificate alone

[coap]                            # EST-coaps (RFC 9148) beside HTTPS, for constrained devices
#listen = "127.0.0.1:5684"       # none; a client certificate is always needed here
#associations_max = 256          # clients remembered at once in one process
#idle_s = 300.0
#lifetime_s = 3600.0             # then a client shakes hands again, and is verified again
#block_bytes = 1024              # of a body in one message; 16, 32, 64 ... 1024
#mtu_bytes = 1232                # of a UDP datagram
#waiting_per_association = 16    # datagrams received; newer ones are lost
#unverified_messages = 8         # then a client without a good certificate is sent away
#unverified_per_host = 16        # such clients of one address in a minute

[ca]
#certificate = "ca.pem"          # the issuing certificate first, then up to the root
#key = "ca-key.pem"
#key_password_file = "password"  # where the first line is the key's password; none
#store = "est.db"
#reserved = []                   # certificates whose subjects nobody else gets: RA, OCSP
#default_profile = "client"      # of requests without a label
# Former keys of the CA: tables [[ca.former]] with certificate, links, key, trusted_until, too.

[audit]                           # what was issued and refused: `est why` reads it; needs a restart
#enabled = true
#file = "audit.jsonl"            # one JSON object a line
#required = false                # issue nothing while it cannot be written
#rotate_mib = 32                 # then it becomes audit.jsonl.1; 0: somebody else rotates it
#keep = 8                        # and so on up to audit.jsonl.8

[renewal_info]                    # when clients are told to renew, so that a fleet does so evenly
#enabled = true
#authentication = "open"         # who may ask
#begin_percent = 30              # of a certificate's life: the first are told to renew
#end_percent = 80                # all have been
#retry_after_s = 21600           # when they ask again
#renew_before = "2027-01-01T00:00:00Z"  # none; those issued before are renewed from then on
#renew_now = []                  # serial numbers of certificates to be renewed at once
#renew_within_s = 86400.0        # the time that those of renew_before are spread over

# Profiles say what may be certified. "client" exists without being written here.
#[profiles.client]
#keys = [
#    "EC P-256", "EC P-384", "EC P-521", "RSA", "Ed25519", "Ed448",
#    "ML-DSA-44", "ML-DSA-65", "ML-DSA-87",
#]
#rsa_bits_min = 2048
#rsa_bits_max = 8192
#key_usage = [
#    "digital-signature", "content-commitment", "key-encipherment", "data-encipherment",
#    "key-agreement", "encipher-only", "decipher-only",
#]
#extended_key_usage = ["client-auth"]    # names or object identifiers, see the manual
#names = ["dns", "ip", "email", "uri"]   # also "directory", "registered-id"
#other_name_types = []
#names_max = 32
#dns_patterns = []               # "*.plant.example": hosts that it certifies; none: all
#ip_networks = []                # "10.1.0.0/16"
#email_patterns = []             # "*@plant.example"
#uri_patterns = []               # "urn:dev:mac:*"
#validity = "365d"               # or hours: "36h"
#not_after = "2036-01-01T00:00:00Z"     # a date that no certificate is valid past; none
#policies = []                   # "1.3.6.1.4.1.99999.1 https://pki.example/cps"
#crl_urls = []                   # "http://pki.example/ca.crl"
#ocsp_urls = []                  # "http://pki.example/ocsp"
#ca_issuers_urls = []            # "http://pki.example/ca.der"
#must_staple = false             # TLS servers are to show an OCSP answer (RFC 7633)

# A label is the extra path segment of /.well-known/est/LABEL/...; it selects a profile.
#[labels.web]
#profile = "client"
#simpleenroll = "cert-or-http"
#require_pop = false
#foreign_challenge = "refuse"    # as in [pop]
#names = "identity"
#renew_expired_days = 0
#changed_names = "registered"
#csrattrs = {}                   # like [csrattrs]

[csrattrs]                        # what clients are told to put into requests; nothing by default
#subject = []                    # "CN": the client's own; "O=Example": told
#key_type = "EC P-256"           # or "EC P-384", "EC P-521", "RSA 3072"
#signature = []                  # "ecdsa-with-SHA256"
#san = []                        # "dns:gate.example"; "ip", "dirname": the client's own
#extensions = []                 # "keyUsage=critical,digitalSignature", "1.2.3.4=hex:0500"
#attributes = []                 # "macAddress", "unstructuredName=gate"
#oids = []                       # object identifiers
#form = "classic"                # "template" (RFC 9908), "both"; as much as is needed
#base64 = "MAA="                 # or all of it, in DER and base64
# For some clients: tables [[csrattrs.for]] with user, certificate, issuer or manufacturer, too.

[body]
#accept_pem = true               # besides base64, what clients in the field send
#accept_der = true

[timeouts]                        # seconds
#handshake_s = 10.0
#head_s = 10.0
#body_s = 20.0
#idle_s = 30.0
#write_s = 20.0
#drain_s = 2.0

[limits]                          # bounds on what a client may send; all of them are in the manual
#body_bytes = 65536
#decision_s = 60
"""
