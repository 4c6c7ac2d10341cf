"""Debian's slapd and freeradius on the loopback interface, and what the guide asks them with."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    Channel,
    Decision,
    TlsVersion,
)
from tests.application import FakeApplication
from tests.deployment import Log
from tests.docs.pages import DOCS, blocks
from tests.pki import Entity

GUIDE: Final = DOCS / "how-to" / "bring-your-own-user-database.md"
BASE: Final = "ou=devices,dc=example,dc=com"
SECRET: Final = b"a long shared secret"
TIMEOUT_S: Final = 30.0

_SLAPD: Final = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
allow bind_anon_cred

TLSCertificateFile {place}/server.pem
TLSCertificateKeyFile {place}/server.key
database mdb
suffix "dc=example,dc=com"
directory {place}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
overlay ppolicy
ppolicy_default "cn=policy,dc=example,dc=com"
"""
_ORGANIZATION: Final = """\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=devices,dc=example,dc=com
objectClass: organizationalUnit
ou: devices

dn: cn=policy,dc=example,dc=com
objectClass: device
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxAge: 86400

dn: ou=others,ou=devices,dc=example,dc=com
objectClass: organizationalUnit
ou: others
"""
_ACCOUNT: Final = """
dn: uid={uid},{base}
objectClass: account
objectClass: simpleSecurityObject
uid: {uid}
userPassword: {password}
"""


def users_of_the_guide(program: str, kind: str, *arguments: object) -> Any:
    """Return what a program of the guide makes of an authority and these arguments."""
    text = next(block.text for block in blocks(GUIDE) if block.rest == program)
    names: dict[str, Any] = {"__name__": program}
    exec(compile(text, program, "exec"), names)
    return names[kind](FakeApplication(), *arguments)


def asked(users: Any, user: str, password: str) -> Decision:
    """Return what is decided on a user and a password."""
    question = AuthenticateRequested(
        operation=SIMPLEENROLL,
        label=None,
        credentials=BasicCredentials(user=user, password=password),
        channel=Channel(version=TlsVersion.TLS_1_3),
    )
    decision: Decision = users.authenticate(question)
    return decision


def account(uid: str, password: str, *more: str, base: str = BASE) -> str:
    """Return an entry of the directory."""
    return _ACCOUNT.format(uid=uid, base=base, password=password) + "".join(
        f"{line}\n" for line in more
    )


@contextmanager
def slapd(place: Path, server: Entity, accounts: str) -> Iterator[int]:
    """Run a directory with these accounts; give its port."""
    (place / "data").mkdir(parents=True)
    (place / "slapd.conf").write_text(_SLAPD.format(place=place), "utf-8")
    (place / "users.ldif").write_text(_ORGANIZATION + accounts, "utf-8")
    server.write(place, "server")
    port = free_port()
    config = ("-f", str(place / "slapd.conf"))
    subprocess.run(("slapadd", *config, "-l", str(place / "users.ldif")), check=True)
    listening = f"ldap://127.0.0.1:{port}"
    with _running(place, "slapd starting", "slapd", "-d", "stats", *config, "-h", listening):
        _wait_until_it_listens(port)  # it says that it starts before it does
        yield port


def _wait_until_it_listens(port: int) -> None:
    give_up_at = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), TIMEOUT_S):
                return
        except ConnectionRefusedError:
            assert time.monotonic() < give_up_at
            time.sleep(0.01)


@contextmanager
def freeradius(place: Path, users: Mapping[str, str], *, signs: bool = True) -> Iterator[int]:
    """Run a RADIUS server with these users; give its port. `signs`: also answers to passwords."""
    place.mkdir()
    config = next(block.text for block in blocks(GUIDE) if block.rest == "radius/radiusd.conf")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = config.replace("8443", str(port)).replace("= radius", f"= {place}")
    if not signs:
        config = config.replace("Message-Authenticator := 0x00", "Reply-Message := hello")
    (place / "radiusd.conf").write_text(config, "utf-8")
    lines = "".join(f"{name} {checks}\n" for name, checks in users.items())
    (place / "users").write_text(lines, "utf-8")
    command = ("freeradius", "-f", "-l", "stdout", "-d", str(place))
    with _running(place, "Ready to process requests", *command):
        yield port


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(place: Path, ready: str, *command: str) -> Iterator[None]:
    """Run a program until the block ends, from the moment that it says that it is ready."""
    process = subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    assert process.stdout is not None
    log = Log()
    reader = threading.Thread(target=log.follow, args=(process.stdout,))
    reader.start()
    try:
        log.wait_for(ready)
        yield
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join()
