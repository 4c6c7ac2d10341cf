"""A label of est.toml, and the rows of a policy in which it differs: `[labels.NAME]`."""

from __future__ import annotations

from dataclasses import replace

from est_core import (
    SIMPLEENROLL,
    Authentication,
    ChangedNames,
    ForeignChallenge,
    Label,
    NameRule,
    PolicyRow,
)
from est_core.values import value_class
from est_transports.authority.csr_attributes import AskedOfClients


@value_class
class LabelConfig:
    """One label: which profile it selects, what it asks for, and how its enrollment is guarded.

    None means what holds without a label.
    """

    label: Label
    profile: str
    csrattrs: AskedOfClients | None = None
    enroll: Authentication | None = None
    require_pop: bool | None = None
    foreign_challenge: ForeignChallenge | None = None
    names: NameRule | None = None
    renew_expired_days: int | None = None
    changed_names: ChangedNames | None = None

    def any_keys(self) -> tuple[str, ...]:
        """Return the keys of the label that leave a client any name it asks for."""
        found = {
            "names": self.names is NameRule.ANY,
            "changed_names": self.changed_names is ChangedNames.ANY,
        }
        return tuple(key for key, is_any in found.items() if is_any)


def label_rows(label: LabelConfig, rows: list[PolicyRow]) -> list[PolicyRow]:
    """Return the rows in which a label differs from `rows`, which hold without one."""
    own = (
        *(label.enroll, label.require_pop, label.foreign_challenge, label.names),
        *(label.renew_expired_days, label.changed_names),
    )
    if all(rule is None for rule in own):
        return []
    found = []
    for row in rows:
        if not row.operation.is_enrollment:
            continue
        enroll = label.enroll if row.operation is SIMPLEENROLL else None
        days = label.renew_expired_days if row.operation.is_renewal else None
        found.append(
            replace(
                row,
                label=label.label,
                authentication=enroll or row.authentication,
                require_pop=row.require_pop if label.require_pop is None else label.require_pop,
                foreign_challenge=label.foreign_challenge,
                names=label.names or row.names,
                expired_days=row.expired_days if days is None else days,
                changed_names=(label.changed_names if row.operation.is_renewal else None)
                or row.changed_names,
            )
        )
    return found
