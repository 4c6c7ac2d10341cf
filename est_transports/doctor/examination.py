"""Examines a server: every check once, one after the other, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Collection

from est_core import Entropy, Instant, LocalProtocolError
from est_core.arguments import checked
from est_transports import _clock
from est_transports.doctor.checks import CHECKS, SUBJECTS
from est_transports.doctor.config import DoctorConfig
from est_transports.doctor.findings import NotJudged, Severity, Verdict
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import SEEN_CHARS, Check, Finding, Report
from est_transports.doctor.texts import shown


def _ignore(_finding: Finding) -> None:
    return None


@checked
def examine(
    config: DoctorConfig,
    *,
    only: Collection[str] = (),
    told: Callable[[Finding], None] = _ignore,
    clock: Callable[[], Instant] = _clock.instant,
    entropy: Entropy = _clock.entropy,
) -> Report:
    """Return what all checks found, or those of the subjects in `only`.

    It talks to the server over one connection at a time, sends no request that could get a
    certificate, and shows credentials and identity to a verified server only. `told` gets each
    finding as it is made. Raises LocalProtocolError for a subject that there is not.
    """
    unknown = sorted(set(only) - set(SUBJECTS))
    if unknown:
        raise LocalProtocolError(f"{unknown[0]!r} is not one of {', '.join(SUBJECTS)}")
    probes = Probes(config, clock=clock, entropy=entropy)
    findings = []
    try:
        for check in CHECKS:
            if config.uri.scheme in check.schemes and (not only or check.subject in only):
                findings.append(_finding(check, probes))
                told(findings[-1])
        is_reachable = _is_reachable(probes, findings)
    finally:
        probes.close()
    return Report(
        findings=tuple(findings),
        connections=probes.budget.connections,
        requests=probes.budget.requests,
        is_reachable=is_reachable,
    )


def _finding(check: Check, probes: Probes) -> Finding:
    try:
        verdict = check.judge(probes)
    except NotJudged as exc:
        verdict = Verdict(severity=Severity.NOT_JUDGED, seen=str(exc))
    except Exception as exc:  # noqa: BLE001  one check that breaks stops no other
        text = f"the check broke ({type(exc).__name__}): a defect of est, please report it"
        verdict = Verdict(severity=Severity.NOT_JUDGED, seen=text)
    needs_help = verdict.severity not in (Severity.OK, Severity.NOT_JUDGED)
    return Finding(
        check=check,
        severity=verdict.severity,
        seen=shown(verdict.seen, SEEN_CHARS),
        do=(verdict.do or check.do) if needs_help else "",
    )


def _is_reachable(probes: Probes, findings: Collection[Finding]) -> bool:
    """True if an address took a connection and who is there could be judged by anything."""
    beyond = [each for each in findings if each.check.subject != "reach"]
    if beyond and all(each.severity is Severity.NOT_JUDGED for each in beyond):
        return False
    try:
        return probes.config.proxy is not None or any(
            not each.problem for each in probes.addresses()
        )
    except NotJudged:
        return False
