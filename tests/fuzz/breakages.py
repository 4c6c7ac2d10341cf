"""Breaks what is under fuzz targets, and says whether the target notices: see `COMMAND`.

A breakage is one piece of text in the place of another, in one module of one process. The target
then gets as many inputs as in the suite. This takes a minute and is no part of the suite, which
only sees to it that the text of each breakage is still there.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from io import StringIO
from types import CodeType, MappingProxyType, ModuleType
from typing import Final

from tests.law.sources import ROOT

COMMAND: Final = "python -m tests.fuzz.breakages"
RUNS: Final = 150  # a number of inputs and no time: a machine may be busy
_OTHERS: Final = (
    *("cryptography.x509", "OpenSSL.SSL", "service_identity.cryptography", "h11", "aiocoap"),
    *("asn1crypto.core", "cbor2"),
)


@dataclass(frozen=True, slots=True)
class Breakage:
    """One piece of text in one file, and what is put in its place."""

    file: str
    old: str
    new: str

    def read(self) -> str:
        """Return the file as it is."""
        return (ROOT / self.file).read_text("utf-8")

    def applied(self) -> str:
        """Return the file broken. Raises LookupError unless the text is there once."""
        text = self.read()
        if text.count(self.old) != 1:
            raise LookupError(f"{self.file} has {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


_CORE, _WIRES = "est_core", "est_transports"


def _core(file: str, old: str, new: str) -> Breakage:
    return Breakage(f"{_CORE}/{file}.py", old, new)


def _wire(file: str, old: str, new: str) -> Breakage:
    return Breakage(f"{_WIRES}/{file}.py", old, new)


BREAKAGES: Final[Mapping[str, Breakage]] = MappingProxyType(
    {
        "tunnels": _wire(
            "tunnels/connect",
            "            if self._inbox.unread:\n                raise unasked",
            "            if False:\n                raise unasked",
        ),
        "tunnels/socks": _wire(
            "tunnels/socks", "            if self._inbox:\n", "            if False:\n"
        ),
        "transfer": _core("codec/transfer", "Form.DER: not accept_der", "Form.DER: False"),
        "textual": _core("codec/textual", "if position > max_blocks:", "if position > 99:"),
        "media": _core(
            "codec/media",
            "unquoted(inside) if plain is None else plain",
            "(unquoted(inside) if plain is None else plain).lower()",
        ),
        "media/twice": _core("codec/media", "name.lower() in found or", ""),
        "retry": _core("codec/retry", "min(int(text), MAX_DELAY_S)", "int(text)"),
        "timestamps": _core("codec/timestamps", 'if match[8] == "-"', 'if match[8] == "+"'),
        "renewal-info-server": _core(
            "operations/renewal_info", "if _base64url(octets) != text:", "if False:"
        ),
        "renewal-info-client": _core(
            "operations/renewal_info", "if start < end else", "if start else"
        ),
        "authorization": _core("codec/authheader", 'pair.partition(":")', 'pair.rpartition(":")'),
        "challenges": _core(
            "codec/authheader", "found += _challenges_untrusted", "found = _challenges_untrusted"
        ),
        "multipart": _core("codec/multipart", 'body.replace(b"\\r\\n", b"\\n")', "body"),
        "multipart/end": _core(
            "codec/multipart",
            "if is_end != [False] * parts + [True]:",
            "if len(found) != parts + 1 or not is_end[-1]:",
        ),
        "multipart-core": _core("codec/multipart_core", "if at != len(raw)", "if at > len(raw)"),
        "der": _core("asn1/_der", "{0x23, 0x24, 0x2C}", "{0x23, 0x2C}"),
        "der/depth": _core("asn1/_der", ">= max_depth", "> max_depth"),
        "der/length": _core("asn1/_der", "length < 0x80 or data[pos] == 0", "data[pos] == 0"),
        "ber": _core("asn1/_der", "    if extra:", "    if 0 < extra < 9:"),
        "pkcs10": _core("checks/pop", "if wrong and not tolerant", "if False"),
        "cms": _core(
            "asn1/cms",
            "_der.children(members[3], ber=True)",
            "_der.children(members[3], ber=True)[1:]",
        ),
        "certificate": _core("asn1/certificate_extensions", "bool(flag)", "False"),
        "csrattrs": _core(
            "asn1/csrattrs",
            "return next((oid for oid in LINKING if oid in listed), None)",
            "return None",
        ),
        "template": _core(
            "asn1/template",
            "if key.curve is not None:\n        parameters",
            "if False:\n        parameters",
        ),
        "attributes": _core(
            "asn1/attributes", "_der.tlv(_der.SEQUENCE, element.content)", "element.der"
        ),
        "keys": _core("asn1/keys", "_RSA_EXPONENT_MIN <= exponent", "0 <= exponent"),
        "keys/modulus": _core("asn1/keys", "if modulus % 2 == 0:", "if False:"),
        "httpmap-server": _core(
            "wires/httpmap/server",
            "if len(found) != 1 or not _is_type(found[0], wanted):",
            "if not found:",
        ),
        "httpmap-server/method": _core(
            "wires/httpmap/server", 'if head.method.decode("latin-1") not in allow:', "if False:"
        ),
        "httpmap-server/label": _core(
            "wires/operation_path",
            "Label.from_untrusted(tail[0]) if len(tail) == 2",
            "None if True",
        ),
        "httpmap-client": _core("model", 'char if char.isprintable() else " "', "char"),
        "coapmap-server": _core(
            "wires/coapmap/server",
            "head.content_format != row.request_format:",
            "head.content_format is None:",
        ),
        "coapmap-server/method": _core(
            "wires/coapmap/server", "if head.code != METHODS[operation.method]:", "if False:"
        ),
        "coapmap-server/accept": _core(
            "wires/coapmap/server", "_check_accept(head, row.answer_formats)", "pass"
        ),
        "coap-messages": _wire(
            "coap/messages",
            "number & 1 and unknown_critical is None",
            "number & 64 and unknown_critical is None",
        ),
        "coap-messages/optional": _wire(
            "coap/messages",
            "elif row.name in read:",
            "elif row.name == 'max_age' or row.name in read:",
        ),
        "uri": _core("uri", 'return "%" not in host', "return True"),
        "uri/label": _core(
            "uri", "label=Label(unquote(label)))", "label=Label(unquote(label).lower()))"
        ),
        "coapmap-client": _core("model", 'char if char.isprintable() else " "', "char"),
        "discovery": _core("wires/coapmap/paths", "and not {", "and True or not {"),
        "hosts": _core("checks/hosts", "return address.ipv4_mapped", "return address"),
        "host-names": _wire("pki/hosts", "return str(address)", "return bare"),
        "names": _core("checks/names", '.strip(" ").translate(_ASCII_LOWER)', '.strip(" ")'),
        "constraints": _core(
            "checks/constraints", "            if tree.holds(name):\n", "            if False:\n"
        ),
        "manufacturers": _core(
            "checks/manufacturers", "if len(values) > 1:", "if len(values) > 9:"
        ),
        "issued": _core("checks/issued", "if got.is_ca and not asked.is_ca:", "if False:"),
        "ocsp-requests": _wire(
            "authority/ocsp_responder", "serial_number=asked.serial,", "serial_number=1,"
        ),
        "publication": _wire(
            "publication/conversation",
            'self._write(_NOT_MODIFIED, fields, b"", now)',
            "self._write(_NOT_MODIFIED, fields, published.body, now)",
        ),
        "fair-queue": _wire("fairness/fair_queue", "self._groups.move_to_end(group)\n", "pass\n"),
        "datagram-scheduler": _wire(
            "channel/datagram_scheduler",
            "self._known_next = not self._known_next",
            "self._known_next = True",
        ),
        "datagram-scheduler/rest": _wire(
            "channel/datagram_scheduler", "self._rests.note(network, now + seconds)", "pass"
        ),
        "connection-slots": _wire(
            "fairness/connection_slots", "self._half_open_count -= 1", "pass"
        ),
        "cookies": _wire(
            "channel/dtls_cookies", "self._expires_at if self._previous else now", "now"
        ),
        "recent-passwords": _wire(
            "authority/stores/recent_passwords", "if now < oldest.until", "if True"
        ),
        "dtls-records": _wire(
            "channel/dtls_records", "records[start + 3 : start + 5] == b", "records[:2] != b"
        ),
        "password-records": _wire(
            "authority/stores/passwords", 'normalize("NFC"', 'normalize("NFKD"'
        ),
        "chains": _wire("pki/chains", "if certificate is None:", "if False:"),
        "profiles": _wire("authority/profiles", "ca=False, path_length", "ca=True, path_length"),
        "client-driver": _wire("drive/client", "now.mono + self._config.response_s", "now.mono"),
        "coap-path-discovery": _wire(
            "coap/path_discovery",
            "self._may_discover and self._listed_for is None",
            "self._may_discover",
        ),
        "h11-server": _wire("http/messages", "self._size.length - self._read", "self._size.length"),
        "h11-client": _wire(
            "http/messages", "self._body += piece", "self._body = bytearray(piece)"
        ),
        "chunks": _wire("http/chunks", "self._left -= len(piece)", "self._left = 0"),
        "conversation": _wire(
            "http/messages", "self._size.length - self._read", "self._size.length"
        ),
        "coap-server-connection": _wire(
            "coap/server_wire",
            "head=transfer.head, payload=body)",
            "head=transfer.head, payload=body[1:])",
        ),
        "coap-client-connection": _wire(
            "coap/client_blocks",
            "self._body += response.payload",
            "self._body[:0] = response.payload",
        ),
        "tls-server": _wire(
            "channel/engine",
            "raise self._failure",
            "raise TlsError(HANDSHAKE_TOO_LARGE, self._failure.message)",
        ),
        "tls-client": _wire("channel/facts", "peer_chain=peer.chain", "peer_chain=peer.chain[1:]"),
        "dtls-engine": _wire(
            "channel/dtls", "return self._inbox.popleft()", "return self._inbox.pop() * 2"
        ),
        "dtls-server": _wire(
            "channel/dtls_mux", "if before is None and self._is_full(newcomer.host):", "if False:"
        ),
        "dtls-server/busy": _wire(
            "channel/dtls_mux", "if not entry.association.is_busy and (", "if ("
        ),
        "dtls-server/cookie": _wire(
            "channel/dtls_mux",
            "if not listener.listen(hello, cookies):",
            "if listener.listen(hello, cookies) is None:",
        ),
        "coap-endpoint": _wire(
            "coap/server", "if self._stopping or not self._questions", "if not self._questions"
        ),
        "coap-endpoint/record": _wire(
            "coap/server",
            "for waiting in client.open.values():\n            self._steps",
            "for waiting in list(client.open.values())[1:]:\n            self._steps",
        ),
        "server-exchange": _core(
            "server/admission", "needs_certificate and not counts", "needs_certificate and False"
        ),
        "client-exchange": _core(
            "operations/_issuing", "public_key_der(each) == reading.spki]", "True]"
        ),
        "credential-files": _wire("pki/credential_files", "{path}: left out", "left out"),
        "agent-toml": _wire(
            "agent/config",
            "return _read(toml_of(text.encode(), path))",
            "return _read(toml_of(text.encode(), path.parent))",
        ),
        "agent-state": _wire(
            "agent/saved", '"hook_event": self.hook_event,', '"hook_event": self.hook_due,'
        ),
        "est-toml": _wire("toml/tables", "{place}: {where}: {reason}", "{where}: {reason}"),
    }
)


def target_of(name: str) -> str:
    """Return the target of a breakage: its name, or what stands in it before a slash."""
    return name.partition("/")[0]


def noticed(name: str, breakage: Breakage) -> bool:
    """Return whether the target finds something where that is broken, in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(_fuzz(name, breakage))
        except BaseException:  # noqa: BLE001  # no child goes on with what its parent does
            traceback.print_exc()
            os._exit(3)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 1


def _fuzz(name: str, breakage: Breakage) -> int:
    sys.meta_path.insert(0, _Finder(breakage))
    from fuzz.__main__ import main as fuzz

    with tempfile.TemporaryDirectory(prefix="est-fuzz-") as findings, redirect_stdout(StringIO()):
        arguments = ["--runs", str(RUNS), "--engine", "mutation", "--findings", findings]
        return fuzz([name, *arguments])


class _Finder(MetaPathFinder):
    """Finds the one module that is broken."""

    def __init__(self, breakage: Breakage) -> None:
        self._breakage = breakage
        self._module = breakage.file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of that module, None for all others."""
        if fullname != self._module:
            return None
        file = str(ROOT / self._breakage.file)
        return spec_from_file_location(
            fullname, file, loader=_Loader(fullname, file, self._breakage)
        )


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, breakage: Breakage) -> None:
        super().__init__(fullname, path)
        self._breakage = breakage

    def get_code(self, _fullname: str) -> CodeType:
        """Return the code of the broken module."""
        return compile(self._breakage.applied(), self.path, "exec", dont_inherit=True)


def main(names: Sequence[str]) -> int:
    """Try the breakages of these targets, or of all. Returns 1 if one is not noticed."""
    for others in _OTHERS:  # once for all children
        importlib.import_module(others)
    missed = 0
    for name in names or BREAKAGES:
        is_noticed = noticed(target_of(name), BREAKAGES[name])
        missed += not is_noticed
        print(f"{name}: {'noticed' if is_noticed else 'NOT NOTICED'}", flush=True)
    print(f"{len(names or BREAKAGES) - missed} of {len(names or BREAKAGES)} noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
