"""Checks of how the server is reached: name, addresses, ports."""

from __future__ import annotations

import socket
from typing import Final

from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import counted, listed

_FAMILIES: Final = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}


def _families(probes: Probes) -> Verdict:
    if probes.config.proxy is not None:
        raise NotJudged("the server is reached through a proxy")
    found = probes.addresses()
    names = {_FAMILIES.get(each.family, "other") for each in found}
    seen = f"{probes.config.uri.host}: {listed(each.text for each in found)}"
    if len(names) > 1 or any(probes.config.uri.host == each.text for each in found):
        return ok(seen)
    return note(f"{seen}; {names.pop()} only")


def _every_address(probes: Probes) -> Verdict:
    if probes.config.proxy is not None:
        try:
            probes.tunnel()
        except NotJudged as exc:
            return fault(str(exc), "check the proxy, and whether it may connect to the server")
        return ok("the proxy opens a tunnel to the server")
    found = probes.addresses()
    broken = [f"{each.text}: {each.problem}" for each in found if each.problem]
    if not broken:
        return ok(f"{counted(len(found), 'address')} {'take' if len(found) > 1 else 'takes'} a "
                  "connection")  # fmt: skip
    if len(broken) == len(found):
        return fault(f"no address takes a connection: {listed(broken)}")
    return warning(f"not every address takes a connection: {listed(broken)}")


CHECKS: Final = (
    Check(
        name="reach.name",
        title="The name has addresses, of IPv4 and of IPv6",
        means="A client looks the name up and tries its addresses. With one family alone, clients "
        "of a network that has only the other cannot come (RFC 8305 1).",
        do="add an A or AAAA record where devices live in networks of the other family",
        judge=_families,
        schemes=("https", "coaps"),
    ),
    Check(
        name="reach.addresses",
        title="Every address takes a connection",
        means="A client may try any of the addresses, and not every one tries a second "
        "(RFC 8305 4, RFC 7030 3.1).",
        do="let the server listen there, open the port on the way, or remove the address from "
        "the name",
        judge=_every_address,
    ),
)
