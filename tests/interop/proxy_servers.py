"""Debian's proxies on loopback: tinyproxy, squid, dante-server, microsocks."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER: Final = "scar"
PASSWORD: Final = "be-prepared"
_HASHED: Final = "$apr1$estproxy$xLHgW7LHVgtOlFLs3zwIs0"
"""The password, by openssl passwd -apr1."""
_TIMEOUT_S: Final = 60.0
_TURN_S: Final = 0.05
_REALM: Final = "est"

_TINYPROXY: Final = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
LogLevel Warning
{rules}
"""
_SQUID: Final = """
http_port 127.0.0.1:{port}
pid_filename none
access_log none
cache_log {directory}/log
cache deny all
pinger_enable off
netdb_filename none
visible_hostname localhost
shutdown_lifetime 0 seconds
max_filedescriptors 1024
{rules}
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""
_SQUID_BASIC: Final = """
auth_param basic program /usr/lib/squid/basic_ncsa_auth {directory}/basic
auth_param basic children 1
auth_param basic realm est
"""
_SQUID_DIGEST: Final = """
auth_param digest program /usr/lib/squid/digest_file_auth -c {directory}/digest
auth_param digest children 1
auth_param digest realm est
"""
_DANTE: Final = """
logoutput: {directory}/log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks {verdict} {{ from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }}
"""


@dataclass(frozen=True, kw_only=True)
class RealProxy:
    """A proxy under way."""

    port: int

    def url(self, scheme: str, *, user: str = "") -> str:
        """Return its URL, with a user or without."""
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}"


def tinyproxy(program: str, rules: str = "") -> Iterator[RealProxy]:
    """Run tinyproxy; with `BasicAuth` among its rules it wants a login."""

    def configure(directory: Path, port: int) -> tuple[str, ...]:
        (directory / "conf").write_text(_TINYPROXY.format(port=port, rules=rules))
        return (program, "-d", "-c", str(directory / "conf"))

    return _proxy(configure)


def squid(program: str, scheme: str) -> Iterator[RealProxy]:
    """Run squid, which wants a login by this scheme: basic, digest or both."""
    rules = {"basic": _SQUID_BASIC, "digest": _SQUID_DIGEST, "both": _SQUID_BASIC + _SQUID_DIGEST}

    def configure(directory: Path, port: int) -> tuple[str, ...]:
        secret = hashlib.md5(f"{USER}:{_REALM}:{PASSWORD}".encode()).hexdigest()
        (directory / "digest").write_text(f"{USER}:{_REALM}:{secret}\n")
        (directory / "basic").write_text(f"{USER}:{_HASHED}\n")
        (directory / "log").write_text("")
        (directory / "log").chmod(0o666)  # squid gives up root's rights
        text = _SQUID.replace("{rules}", rules[scheme])
        (directory / "conf").write_text(text.format(port=port, directory=directory))
        return (program, "-N", "-n", f"est{port}", "-f", str(directory / "conf"))

    return _proxy(configure)


def dante(program: str, *, verdict: str = "pass") -> Iterator[RealProxy]:
    """Run dante's server for SOCKS4, 4a and 5, without a login."""

    def configure(directory: Path, port: int) -> tuple[str, ...]:
        text = _DANTE.format(directory=directory, port=port, verdict=verdict)
        (directory / "conf").write_text(text)
        return (program, "-f", str(directory / "conf"), "-p", str(directory / "pid"))

    return _proxy(configure)


def microsocks(program: str, *, login: bool) -> Iterator[RealProxy]:
    """Run microsocks for SOCKS5."""
    options = ("-u", USER, "-P", PASSWORD) if login else ()

    def configure(_directory: Path, port: int) -> tuple[str, ...]:
        return (program, "-i", "127.0.0.1", "-p", str(port), *options)

    return _proxy(configure)


def _proxy(configure: Callable[[Path, int], tuple[str, ...]]) -> Iterator[RealProxy]:
    directory = Path(tempfile.mkdtemp(prefix="est-proxy-"))
    directory.chmod(0o755)  # pytest's own is for root alone
    try:
        port = _free_port()
        with _running(configure(directory, port), port, directory / "log"):
            yield RealProxy(port=port)
    finally:
        shutil.rmtree(directory)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _running(command: tuple[str, ...], port: int, log: Path) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        _wait_until_it_listens(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up_at:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), _TIMEOUT_S):
            return
        time.sleep(_TURN_S)
    said = log.read_text() if log.exists() else ""
    process.kill()
    raise AssertionError(f"it does not listen: {process.communicate()[0]!r} {said}")
