"""Examples of every command, for the end of its help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "est": (
        "est demo",
        "est init ca --host est.example",
        "est serve ca",
        "est enroll https://est.example --trust ca.pem --user alice --cn a1",
    ),
    "est demo": ("est demo", "est demo --dir shown"),
    "est init": (
        "est init ca --host est.example",
        "est init ca --intermediate --root-key-password-file root.txt",
        "est init ca --ca-cert issuing.pem --ca-key-file issuing.key",
        "est init ca --renew-server",
    ),
    "est serve": (
        "est serve ca",
        "est serve ca --listen 0.0.0.0:8443 --workers 2",
        "est serve ca --coap 0.0.0.0 --json",
    ),
    "est user": ("est user add ca alice", "est user list ca"),
    "est user add": (
        "est user add ca alice",
        "est user add ca alice --force --password-stdin <password.txt",
    ),
    "est user list": ("est user list ca", "est user list ca --json"),
    "est user remove": ("est user remove ca alice",),
    "est token": ("est token add ca gateway-7", "est token list ca"),
    "est token add": (
        "est token add ca gateway-7",
        "est token add ca gateway-7 --operation simpleenroll --expires 12h",
        "est token add ca gateway-7 --label plant --expires never",
    ),
    "est token list": ("est token list ca", "est token list ca --json"),
    "est token remove": ("est token remove ca gateway-7",),
    "est otp": ("est otp add ca device-7", "est otp list ca"),
    "est otp add": (
        "est otp add ca device-7",
        "est otp add ca --count 1000 --prefix lot3- --out lot3.csv",
        "est otp add ca --names-file serials.txt --expires 2027-01-31 --out codes.csv",
    ),
    "est otp list": ("est otp list ca", "est otp list ca --json"),
    "est otp remove": ("est otp remove ca device-7", "est otp remove ca --expired --spent"),
    "est check": ("est check ca", "est check ca --days 14 --quick --json"),
    "est backup": (
        "est backup ca ca.backup",
        "est backup ca ca.backup --with-keys --force",
    ),
    "est restore": (
        "est restore ca.backup ca",
        "est restore ca.backup ca --audit audit.jsonl --crl newest.crl",
    ),
    "est why": (
        "est why ca 7K3M9QX2TD",
        "est why ca --device gauge-7",
        "est why ca --peer 192.0.2.7 --last 1 --json",
    ),
    "est device": ("est device add ca gauge-7 --code", "est device list ca"),
    "est device add": (
        "est device add ca gauge-7 --name gauge-7.plant.example --code",
        "est device add ca gauge-7 --label plant --expires 2027-01-31 --force",
    ),
    "est device import": (
        "est device import ca devices.csv --out codes.csv",
        "est device import ca devices.csv --force",
    ),
    "est device list": ("est device list ca", "est device list ca --json"),
    "est device show": ("est device show ca gauge-7", "est device show ca gauge-7 --json"),
    "est device remove": ("est device remove ca gauge-7", "est device remove ca --expired"),
    "est srp": ("est srp add ca device-7", "est srp list ca"),
    "est srp add": (
        "est srp add ca device-7",
        "est srp add ca device-7 --bits 3072 --password-stdin <password.txt",
    ),
    "est srp list": ("est srp list ca", "est srp list ca --json"),
    "est srp remove": ("est srp remove ca device-7",),
    "est certs": ("est certs list ca", "est certs show ca 4a9f", "est certs revoke ca 4a9f"),
    "est certs list": (
        "est certs list ca",
        "est certs list ca --subject device-1 --limit 10",
    ),
    "est certs show": ("est certs show ca 4a9f", "est certs show ca 4a9f --pem"),
    "est certs revoke": (
        "est certs revoke ca 4a9f --reason keyCompromise",
        "est certs revoke ca 4a9f --reason certificateHold",
        "est certs revoke ca --user gauge-7 --dry-run",
    ),
    "est certs release": ("est certs release ca 4a9f",),
    "est profile": ("est profile list ca", "est profile test ca device-1.csr --label web"),
    "est profile list": ("est profile list ca",),
    "est profile show": ("est profile show ca", "est profile show ca web"),
    "est profile test": (
        "est profile test ca device-1.csr",
        "est profile test ca device-1.csr --label web",
        "est profile test ca device-1.csr --profile web --json",
    ),
    "est ca": ("est ca status ca", "est ca rollover ca"),
    "est ca rollover": (
        "est ca rollover ca",
        "est ca rollover ca --until 2027-11-28T12:00:00Z --ca-key 'EC P-384'",
    ),
    "est ca status": ("est ca status ca", "est ca status ca --json"),
    "est crl": ("est crl ca", "est crl ca --out ca.crl", "est crl ca --out ca.der --der"),
    "est provision": (
        "est provision https://est.example --trust ca.pem --user alice --cn a1",
        "est provision https://est.example --cert c.pem --key k.pem --cn a1",
    ),
    "est cacerts": (
        "est cacerts https://est.example --trust ca.pem",
        "est cacerts https://est.example/label --out device",
    ),
    "est csrattrs": ("est csrattrs https://est.example --trust ca.pem",),
    "est renewal-info": (
        "est renewal-info https://est.example --trust ca.pem --of cert.pem",
        "est renewal-info coaps://est.example --cert c.pem --key k.pem --json",
    ),
    "est enroll": (
        "est enroll https://est.example --trust ca.pem --user alice --cn a1",
        "est enroll https://est.example --cert c.pem --key k.pem --cn a1",
        "est enroll https://est.example --user alice --csr request.pem",
        "est enroll coaps://est.example --cert c.pem --key k.pem --cn a1",
    ),
    "est reenroll": (
        "est reenroll https://est.example --cert cert.pem --key key.pem --force",
        "est reenroll https://est.example --cert c.pem --key k.pem --rekey",
    ),
    "est doctor": (
        "est doctor https://est.example --trust ca.pem",
        "est doctor https://est.example/label --only tls --only cacerts",
        "est doctor https://est.example --system-trust --json",
    ),
    "est agent": ("est agent device", "est agent device --once"),
    "est agent-init": (
        "est agent-init device g --url https://est.example --trust ca.pem --cn g",
        "est agent-init device g --url https://est.example --trust c.pem --take old",
    ),
    "est renew": ("est renew device", "est renew device gate --force"),
    "est roll-back": ("est roll-back device", "est roll-back device gate --force"),
    "est discard": ("est discard device", "est discard device gate --json"),
    "est status": ("est status device", "est status device gate --json"),
}
"""Command lines by the command that they are of; each fits a terminal of 80 columns."""


def examples(command: str) -> str:
    """Return the end of a command's help, "" where there are no examples."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines))) if lines else ""
