"""Every module has a fuzz target that tests it, or stands here with the reason why not."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from fuzz.targets import TARGETS
from tests.law.sources import ALL

NO_TARGET: Final = {
    "values, tables and words: what is read is made into them, and they read nothing": """
        est_core est_core._errors est_core._instant est_core._limits est_core._oids
        est_core.arguments est_core.operation est_core.operations.defaults est_core.asn1
        est_core.asn1.oid_names est_core.values
        est_core.channel est_core.checks est_core.codec est_core.credentials est_core.decisions
        est_core.error_codes est_core.error_codes.* est_core.events est_core.model
        est_core.policy est_transports est_transports.coap.limits
        est_transports.channel.dtls_events est_transports.channel.dtls_limits
        est_transports.error_codes est_transports.error_codes.* est_transports.pki.names
        est_transports.pki.key_usage
        est_transports.pki.serials est_transports.client_config est_transports.drive.records
        est_transports.drive.events
        est_transports._faces
        est_transports.service.validity est_transports.service.errors
        est_transports.service.config.key est_transports.service.config.keys
        est_transports.service.config.moved
        est_transports.service.config.csr_attributes_keys est_transports.service.config.text
        est_transports.pki.trust
        est_transports.authority.stores est_transports.authority.stores.errors
        est_transports.authority.stores.credential_records
        est_transports.authority.stores.device_records
        est_transports.authority.stores.revocation_records
        est_transports.authority.stores.issuer_records""",
    "faces, which only hand out names": """
        est_core.auth est_core.client est_core.operations est_core.server est_core.wires
        est_core.wires.httpmap est_core.wires.coapmap est_core.life_cycle est_core.trust
        est_transports.toml est_transports.daemon est_transports.agent
        est_transports.authority
        est_transports.channel est_transports.coap est_transports.drive est_transports.fairness
        est_transports.http est_transports.pairs est_transports.pki est_transports.service
        est_transports.publication
        est_transports.service.config est_transports.service.audit""",
    "an examination: made of the client's parts, and properties of its own, transports/doctor": """
        est_transports.doctor est_transports.doctor.*""",
    "checks of other people's programs": "est_core.testing est_core.testing.*",
    "I/O: sockets, threads, processes and files, whose contents go to what has a target": """
        est_transports.__main__ est_transports._clock est_transports.channel._openssl
        est_transports.fairness.fair_pool est_transports.on_* est_transports.channel.sockets
        est_transports.coap.client_socket
        est_transports.service.processes est_transports.service.loading
        est_transports.service.running est_transports.service.publishing
        est_transports.service.ocsp_loading
        est_transports.daemon.systemd est_transports.daemon.file_limit est_transports.service.watch
        est_transports.service.condition
        est_transports.service.startup_checks est_transports.service.crl_loading
        est_transports.service.ra_loading est_transports.service.crl_publishing
        est_transports.service.crl_resource
        est_transports.service.ca_loading est_transports.service.listening
        est_transports.service.rolling_over est_transports.service.generations
        est_transports.service.manufacturer_loading
        est_transports.daemon.log_output est_transports.service.audit.file
        est_transports.service.audit.trail est_transports.authority.issue_log
        est_transports.authority.issue_notes
        est_transports.files est_transports.files.* est_transports.pki.path_problems
        est_transports.service.new_directory est_transports.pki.library_warnings
        est_transports.drive.observe est_transports.drive.unserved
        est_transports.drive.addresses
        est_transports.channel.tls_context est_transports.channel.dtls_context
        est_transports.channel.openssl_context
        est_transports.channel.dtls_unverified est_transports.pki.openssl_store""",
    "pairs on disk: no peer's bytes, and properties of its own, tests/transports/pairs": """
        est_transports.pairs.*""",
    "which proxy: no peer's bytes, and properties of its own, tests/transports/tunnels": """
        est_transports.tunnels
        est_transports.tunnels.proxy est_transports.tunnels.environment
        est_transports.tunnels.exceptions est_transports.tunnels.failures""",
    "backups: no peer's bytes, and damaged and hostile ones in tests/transports/service/backup": """
        est_transports.service.backup est_transports.service.backup.*
        est_transports.service.unrecorded est_transports.service.revoked_since""",
    "people at a terminal": "est_transports.cli est_transports.cli.*",
    "made of parts that have targets of their own": """
        est_transports.on_aiocoap.messages est_transports.drive.application
        est_transports.drive.consult est_transports.drive.event_loop
        est_transports.drive.event_loop_slots est_transports.drive.questions
        est_transports.drive.question_router est_transports.drive.question_threads
        est_transports.drive.event_loop_client est_transports.drive.judging
        est_transports.pki.issuers est_transports.pki.new_keys
        est_transports.agent.*
        est_transports.authority.registered_names
        est_transports.drive.authentication_results est_transports.fairness.failed_attempts
        est_transports.fairness.leaky_buckets
        est_transports.http.event_loop_server est_transports.tunnels.opening
        est_transports.tunnels.machine est_transports.tunnels.event_loop
        est_transports.coap.client est_transports.coap.settings
        est_transports.fairness.handshake_scheduler est_transports.http.settings
        est_transports.fairness.network_places est_transports.fairness.question_scheduler""",
    "an authority with its files and its database: what it is asked has passed `profiles`": """
        est_transports.authority.application est_transports.service.initialisation
        est_transports.authority.issuers est_transports.authority.issuer_limits
        est_transports.authority.ca est_transports.authority.new_ca
        est_transports.authority.recorded_signing est_transports.authority.former_cas
        est_transports.authority.rollover est_transports.authority.rollover_records
        est_transports.authority.planned_certificate est_transports.authority.preview
        est_transports.service.config.profile_values est_transports.service.config.former
        est_transports.service.config.edit
        est_transports.authority.crls est_transports.authority.ocsp_identity
        est_transports.authority.renewal_rules est_transports.authority.stores.key_history
        est_transports.authority.adoption
        est_transports.authority.renewal_records est_transports.authority.enrollment_records
        est_transports.authority.names_of_others est_transports.authority.renewal_windows
        est_transports.pki.signers est_transports.authority.stores.sqlite*
        est_transports.authority.stores.write_turn est_transports.authority.authentication
        est_transports.authority.authentication.*
        est_transports.authority.stores.digest_records est_transports.service.secret_loading
        est_transports.service.srp_loading""",
    "a life cycle: no peer's bytes, and properties of its own, tests/core/life_cycle": """
        est_core.life_cycle.clock est_core.life_cycle.machine est_core.life_cycle.policy
        est_core.life_cycle.state est_core.life_cycle.steps""",
    "what a person typed, and dates that were read before: tests/transports/pki": """
        est_transports.pki.fingerprints est_transports.pki.clock_floor""",
    "trust that follows a CA: certificates that were read before, tests/core/trust/test_worlds": """
        est_core.trust.anchors est_core.trust.bag est_core.trust.facts est_core.trust.following
        est_core.trust.links est_core.trust.needed est_core.trust.saved""",
    "keys in tokens: URIs have a property of their own, and no peer names them": """
        est_transports.pki.pkcs11_uri est_transports.pki.token_keys
        est_transports.pki.token_modules est_transports.pki.token_objects
        est_transports.pki.token_pins est_transports.pki.token_session""",
    "the audit file: what peers send goes through properties of its own, service/audit": """
        est_transports.service.audit.entries est_transports.service.audit.reading""",
    "TLS-SRP: what peers send goes through properties of its own, tests/transports/channel": """
        est_transports.channel.client_hello est_transports.channel.engines
        est_transports.channel.srp est_transports.channel.srp_attempts
        est_transports.channel.srp_connection est_transports.channel.srp_users
        est_transports.pki.srp_verifiers est_transports.pki.path_rules""",
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
