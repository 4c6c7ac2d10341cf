"""Every module has a fuzz target that tests it, or stands here with the reason why not."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from fuzz.targets import TARGETS
from tests.law.sources import ALL

NO_TARGET: Final = {
    "values, tables and words: what is read is made into them, and they read nothing": """
        est_core est_core._errors est_core._instant est_core._limits est_core._oids
        est_core._path_faults est_core.arguments est_core.asn1 est_core.asn1.oid_names
        est_core.channel est_core.checks est_core.codec est_core.credentials est_core.decisions
        est_core.error_codes est_core.error_codes.* est_core.events est_core.model est_core.policy
        est_transports est_transports.coap_limits est_transports.dtls_events
        est_transports.dtls_limits est_transports.error_codes est_transports.error_codes.*
        est_transports.names est_transports.serials est_transports.service est_transports.terms
        est_transports.config_text est_transports.trust est_transports.stores""",
    "checks of other people's programs": "est_core.testing est_core.testing.*",
    "I/O: sockets, threads, processes and files, whose contents go to what has a target": """
        est_transports.__main__ est_transports._clock est_transports._openssl
        est_transports.asyncio_* est_transports.sockets_* est_transports.trio_*
        est_transports.fair_pool est_transports.on_* est_transports.peek est_transports.running
        est_transports.serving
        est_transports.systemd est_transports.watch est_transports.readiness
        est_transports.log_output est_transports.ownership est_transports.path_problems
        est_transports.new_directory est_transports.library_warnings est_transports.observe
        est_transports.unserved est_transports.tls_context est_transports.dtls_context
        est_transports.dtls_unverified""",
    "people at a terminal": "est_transports.cli est_transports.cli.*",
    "made of parts that have targets of their own": """
        est_transports.aiocoap_messages est_transports.application est_transports.coap_client
        est_transports.coap_service est_transports.handshake_turns est_transports.http_service
        est_transports.question_turns""",
    "an authority with its files and its database: what it is asked has passed `profiles`": """
        est_transports.authority est_transports.founding est_transports.issuers
        est_transports.issuer_limits est_transports.refca est_transports.renewal_records
        est_transports.signers est_transports.stores.sqlite*""",
}


def test_every_module_is_under_test_by_a_target_or_has_a_reason_why_not() -> None:
    tested = {module for target in TARGETS.values() for module in target.modules}
    patterns = [pattern for names in NO_TARGET.values() for pattern in names.split()]
    modules = {source.name for source in ALL if not source.name.startswith(("tests", "fuzz"))}
    excused = {
        pattern: {module for module in modules if fnmatchcase(module, pattern)}
        for pattern in patterns
    }
    without = modules - tested - {module for found in excused.values() for module in found}
    assert sorted(without) == []
    assert sorted(pattern for pattern, found in excused.items() if not found - tested) == []
