"""Apache and lighttpd, with answers of EST as files that whoever logs in may have."""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from est_core.asn1.cms import write_certs_only
from tests.application import issue
from tests.pki import pki
from tests.transports.https_site import Device, new_device

USER: Final = "device"
PASSWORD: Final = "Circle of Life"
TOKEN: Final = "est_abc"
_REALM: Final = "est"
_TIMEOUT_S: Final = 60.0
_TURN_S: Final = 0.05

BY_DIGEST: Final = """
AuthType Digest
AuthName est
AuthDigestProvider file
AuthUserFile {directory}/users
Require valid-user
"""
BY_TOKEN: Final = """
Require all granted
RewriteEngine On
RewriteCond %{HTTP:Authorization} "!=Bearer est_abc"
RewriteRule ^ - [R=401]
Header always set WWW-Authenticate 'Bearer realm="est"' "expr=%{REQUEST_STATUS} == 401"
"""

_MODULES: Final = (
    *("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user"),
    *("auth_digest", "ssl", "headers", "rewrite"),
)
_APACHE: Final = """
ServerRoot {directory}
PidFile {directory}/pid
ErrorLog {directory}/log
CustomLog {directory}/access "%>s %{Authorization}i"
ServerName localhost
Listen 127.0.0.1:{port}
User www-data
Group www-data
Mutex pthread
{modules}
DocumentRoot {directory}/www
SSLEngine on
SSLCertificateFile {directory}/chain.pem
SSLCertificateKeyFile {directory}/key.pem
<Files cacerts>
    ForceType application/pkcs7-mime
</Files>
<Files simpleenroll>
    ForceType "application/pkcs7-mime; smime-type=certs-only"
</Files>
<Directory {directory}/www>
{access}
</Directory>
"""
_LIGHTTPD: Final = """
server.modules = ("mod_auth", "mod_authn_file", "mod_openssl", "mod_accesslog")
server.document-root = "{directory}/www"
server.errorlog = "{directory}/log"
accesslog.filename = "{directory}/access"
accesslog.format = "%s %{Authorization}i"
server.bind = "127.0.0.1"
server.port = {port}
ssl.engine = "enable"
ssl.pemfile = "{directory}/chain.pem"
ssl.privkey = "{directory}/key.pem"
mimetype.assign = (
    "cacerts" => "application/pkcs7-mime",
    "simpleenroll" => "application/pkcs7-mime; smime-type=certs-only",
)
auth.backend = "htdigest"
auth.backend.htdigest.userfile = "{directory}/users"
auth.require = ("" => (
    "method" => "digest", "algorithm" => "{algorithm}", "realm" => "est", "require" => "valid-user"
))
"""


@dataclass(frozen=True, kw_only=True)
class WebServer:
    """A server under way, which has a certificate for `device`.

    Once it has ended `requests` has the status of each answer, and the Authorization of the
    request, "-" for none.
    """

    port: int
    device: Device
    requests: list[tuple[int, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def statuses(self) -> list[int]:
        return [status for status, _ in self.requests]

    @property
    def schemes(self) -> set[str]:
        """By which schemes it was tried to log in."""
        return {sent.partition(" ")[0] for _, sent in self.requests} - {"-"}


@contextmanager
def apache(program: str, access: str) -> Iterator[WebServer]:
    """Run Apache with these rules of access."""
    modules = [
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES
    ]
    text = _APACHE.replace("{modules}", "\n".join(modules)).replace("{access}", access)
    with _site(text) as (directory, server):
        command = (program, "-f", str(directory / "conf"), "-D", "FOREGROUND")
        with _running(command, directory, server):
            yield server


@contextmanager
def lighttpd(program: str, algorithm: str) -> Iterator[WebServer]:
    """Run lighttpd with Digest by this algorithm."""
    with _site(_LIGHTTPD.replace("{algorithm}", algorithm)) as (directory, server):
        command = (program, "-D", "-f", str(directory / "conf"))
        with _running(command, directory, server):
            yield server


@contextmanager
def _site(configuration: str) -> Iterator[tuple[Path, WebServer]]:
    """A directory with all that a server has; its own user can read it, unlike pytest's."""
    directory = Path(tempfile.mkdtemp(prefix="est-web-"))
    directory.chmod(0o755)
    server = WebServer(port=_free_port(), device=new_device())
    try:
        _write_answers(directory / "www" / ".well-known" / "est", server.device)
        chain, key = pki().server.write(directory, "server")
        shutil.copy(chain, directory / "chain.pem")
        shutil.copy(key, directory / "key.pem")
        known = f"{USER}:{_REALM}"
        secret = f"{known}:{PASSWORD}".encode()
        secrets = [hashlib.new(name, secret).hexdigest() for name in ("md5", "sha256")]
        (directory / "users").write_text("".join(f"{known}:{each}\n" for each in secrets))
        text = configuration.replace("{directory}", str(directory))
        (directory / "conf").write_text(text.replace("{port}", str(server.port)))
        yield directory, server
    finally:
        shutil.rmtree(directory)


def _write_answers(directory: Path, device: Device) -> None:
    directory.mkdir(parents=True)
    certificates = {
        "cacerts": pki().ca.certificate,
        "simpleenroll": issue(device.signer.public_key_spki),
    }
    for name, certificate in certificates.items():
        text = base64.b64encode(write_certs_only([certificate]))
        (directory / name).write_bytes(text + b"\n")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _running(command: tuple[str, ...], directory: Path, server: WebServer) -> Iterator[None]:
    log, access = directory / "log", directory / "access"
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _wait_until_it_listens(process, server.port, log)
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    for line in access.read_text().splitlines():
        status, _, sent = line.partition(" ")
        if status.isdigit():
            server.requests.append((int(status), sent))


def _wait_until_it_listens(process: subprocess.Popen[str], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _TIMEOUT_S
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while process.poll() is None and time.monotonic() < give_up_at:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as sock,
            context.wrap_socket(sock),
        ):
            return
        time.sleep(_TURN_S)
    said = log.read_text() if log.exists() else ""
    process.kill()
    raise AssertionError(f"it does not listen: {process.communicate()[1]} {said}")
