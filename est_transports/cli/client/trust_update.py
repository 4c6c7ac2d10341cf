"""`est cacerts --update`: what a file of trust anchors becomes when its CA goes to a new root.

The file is read by other programs, so it has certificates and nothing else; since when each is
trusted, and when an old one goes, stands in a file beside it. The certificates are written first:
if the power fails in between nothing is lost, and no date makes an anchor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import LocalProtocolError
from est_core.trust import (
    AddedAnchor,
    Followed,
    KnownAnchor,
    RefusedRoot,
    TrustedAnchors,
    TrustPolicy,
    follow,
    trust_of,
    trust_text,
)
from est_core.values import unchecked_value_class
from est_transports import _clock
from est_transports.cli.client.hints import remedy
from est_transports.cli.client.target import Target
from est_transports.cli.describe import certificate_values, fingerprint, moment, subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import Output, write_files
from est_transports.cli.output import print_json, print_table, say, warn
from est_transports.pki.clock_floor import raised
from est_transports.pki.credential_files import certificates_pem

_DATES: Final = ".dates"
_MAX_DATES_BYTES: Final = 64 * 1024


@unchecked_value_class
class TrustUpdate:
    """A file of trust anchors that is to follow its CA, and by what policy."""

    path: Path
    policy: TrustPolicy = field(default_factory=TrustPolicy)

    @property
    def dates(self) -> Path:
        """Where the dates of the anchors are."""
        return self.path.with_name(self.path.name + _DATES)

    def carry_out(
        self,
        target: Target,
        received: Sequence[x509.Certificate],
        shown: Sequence[x509.Certificate],
    ) -> Followed:
        """Follow what the server sent, write the files where they change, and tell of it.

        `shown` are the certificates by which the server was verified. Raises CliError.
        """
        now = _clock.instant().wall
        if target.clock_floor is not None and now < target.clock_floor:
            now = raised(target.clock_floor, (*target.trust, *shown[:1]))
        own = () if target.identity is None else target.identity.chain
        known = self._known(target.trust, now)
        followed = follow(known, received, now=now, policy=self.policy, in_use=(*own, *shown))
        trust = followed.trust
        outputs = []
        if followed.is_changed:
            outputs.append(Output(path=self.path, content=certificates_pem(trust.certificates)))
        text = trust_text(trust) + "\n"
        if text != self._text():
            outputs.append(Output(path=self.dates, content=text.encode("ascii")))
        write_files(outputs, overwrite=True)
        _tell(followed)
        return followed

    def _known(self, anchors: Sequence[x509.Certificate], now: datetime) -> TrustedAnchors:
        text = self._text()
        try:
            if text:
                try:
                    return trust_of(text, anchors, now=now)
                except LocalProtocolError as exc:
                    warn(f"{self.dates}: {exc.message}; its dates begin anew")
            return TrustedAnchors.of(anchors, now=now)
        except LocalProtocolError as exc:
            raise CliError(f"{self.path}: {exc.message}", ExitCode.LOCAL) from exc

    def _text(self) -> str:
        try:
            with self.dates.open("rb") as file:
                return file.read(_MAX_DATES_BYTES + 1).decode("ascii", "replace")
        except FileNotFoundError:
            return ""
        except OSError as exc:
            reason = f"{self.dates}: cannot be read: {exc.strerror}"
            raise CliError(reason, ExitCode.LOCAL) from exc


def print_update(followed: Followed, *, as_json: bool) -> None:
    """Print what is trusted from now on."""
    if as_json:
        print_json(
            {
                "trusted": [_known_values(each) for each in followed.trust.anchors],
                "added": [_added_values(each) for each in followed.added],
                "dropped": [certificate_values(each.certificate) for each in followed.dropped],
                "refused": [_refused_values(each) for each in followed.refused],
            }
        )
        return
    print_table(
        ("trusted", "since", "until", "SHA-256"),
        [
            (
                subject_text(each.certificate),
                moment(each.since),
                moment(each.drop_after or each.certificate.not_valid_after_utc),
                fingerprint(each.certificate),
            )
            for each in followed.trust.anchors
        ],
    )


def _tell(followed: Followed) -> None:
    for added in followed.added:
        way = "a new certificate of its own key"
        if added.link is not None:
            way = f"its link certificate, SHA-256 {fingerprint(added.link)}"
        say(f"trusting {_named(added.anchor)}, by {way}, from {_named(added.issuer)}")
    for dropped in followed.dropped:
        say(f"trusting no more {_named(dropped.certificate)}: it has had a successor for long")
    for refused in followed.refused:
        if refused.is_former:
            continue
        about = refused.root or refused.link
        who = "" if about is None else f" {_named(about)}"
        warn(f"not trusted:{who}: {refused.reason} [{refused.code}]; {remedy(refused.code)}")


def _named(certificate: x509.Certificate) -> str:
    return f"{subject_text(certificate)} SHA-256 {fingerprint(certificate)}"


def _known_values(anchor: KnownAnchor) -> dict[str, object]:
    return {
        **certificate_values(anchor.certificate),
        "since": moment(anchor.since),
        "superseded_at": None if anchor.superseded_at is None else moment(anchor.superseded_at),
        "drop_after": None if anchor.drop_after is None else moment(anchor.drop_after),
    }


def _added_values(added: AddedAnchor) -> dict[str, object]:
    return {
        **certificate_values(added.anchor),
        "link_sha256": None if added.link is None else fingerprint(added.link),
        "from_sha256": fingerprint(added.issuer),
    }


def _refused_values(refused: RefusedRoot) -> dict[str, object]:
    about = refused.root or refused.link
    return {
        **({} if about is None else certificate_values(about)),
        "code": refused.code,
        "reason": refused.reason,
    }
