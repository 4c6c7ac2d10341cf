"""Every property says how far its inputs have to come, or refuses none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.law.sources import ROOT

TESTS: Final = ROOT / "tests"
Function = ast.FunctionDef | ast.AsyncFunctionDef

REFUSES_NOTHING: Final = {
    "what is written is read back, and all that is generated can be written": {
        "core/asn1/test_attributes.py": {"test_challenges_round_trip"},
        "core/asn1/test_cms.py": {"test_bags_round_trip"},
        "core/asn1/test_csrattrs.py": {"test_csrattrs_round_trip"},
        "core/asn1/test_gate.py": {"test_object_identifiers_round_trip"},
        "core/asn1/test_pkcs10.py": {"test_what_is_built_is_read_back"},
        "core/asn1/test_template.py": {"test_templates_round_trip"},
        "core/codec/test_authheader.py": {
            "test_basic_written_reads_back_the_same",
            "test_challenges_written_read_back_the_same",
            "test_digest_written_reads_back_the_same",
        },
        "core/checks/test_pop_and_renewal.py": {"test_what_is_bound_decodes_to_the_binding"},
        "core/codec/test_media.py": {"test_what_is_written_reads_back_the_same"},
        "core/codec/test_multipart_core.py": {
            "test_it_is_the_cbor_that_others_write_and_read",
            "test_what_is_written_is_read_back",
        },
        "core/codec/test_retry.py": {
            "test_dates_written_read_back",
            "test_seconds_written_read_back",
            "test_writes_dates_as_the_standard_library_does",
        },
        "core/codec/test_timestamps.py": {"test_what_is_written_is_read_again"},
        "core/codec/test_transfer.py": {
            "test_encodes_as_the_standard_library_does",
            "test_no_line_is_longer_than_asked_and_each_ends",
            "test_what_is_encoded_decodes_to_itself",
        },
        "core/test_uri.py": {"test_a_uri_survives_being_written_and_read"},
        "fuzz/test_engines.py": {
            "test_choices_are_in_range_and_the_first_ones_at_the_end",
            "test_parts_are_unpacked_as_they_were_packed",
        },
        "transports/coap/test_messages.py": {
            "test_a_foreign_codec_reads_what_is_written",
            "test_what_a_foreign_codec_writes_is_read",
            "test_what_is_written_is_read_back",
        },
        "transports/pki/test_serials.py": {
            "test_a_serial_is_printed_in_whole_bytes_of_upper_case_hex",
            "test_every_spelling_is_read_as_the_number_that_is_stored",
        },
    },
    "the same thing is said in two ways, and each is valid": {
        "core/checks/test_hosts.py": {
            "test_all_spellings_of_an_ipv4_address_are_one",
            "test_all_spellings_of_an_ipv6_address_are_one",
            "test_other_addresses_are_others",
            "test_other_ipv6_addresses_are_others",
        },
        "core/checks/test_names.py": {"test_all_spellings_of_a_name_are_one"},
        "core/wires/test_wire_equivalence.py": {
            "test_a_refusal_means_the_same_on_both_wires",
            "test_a_request_means_the_same_on_both_wires",
            "test_busy_means_the_same_on_both_wires_to_a_get",
            "test_pending_means_the_same_on_both_wires",
        },
        "transports/http/test_chunks.py": {"test_a_body_is_the_same_in_any_pieces"},
        "transports/fairness/test_networks.py": {"test_all_ports_of_an_address_are_one_network"},
        "transports/channel/test_tls_failures.py": {
            "test_any_size_of_delivery_gives_the_same_channel"
        },
    },
    "all inputs are valid, and each is asked for the whole of what is promised": {
        "core/codec/test_multipart.py": {"test_what_is_written_is_read_back"},
        "cli/test_tables.py": {"test_a_folded_text_loses_nothing_and_breaks_pairs_between_bytes"},
        "core/asn1/test_csrattrs.py": {"test_no_item_is_lost_by_a_plan"},
        "core/checks/test_enforcement.py": {"test_what_our_own_client_makes_of_a_list_passes"},
        "core/operations/test_renewal_info.py": {
            "test_names_and_certificates_belong_together_one_to_one"
        },
        "transports/authority/test_renewal_windows.py": {
            "test_a_line_of_renewals_keeps_its_place_also_where_one_came_late",
            "test_every_window_lies_in_the_life_of_its_certificate",
        },
        "fuzz/test_engines.py": {"test_any_input_of_any_shape_can_be_changed"},
        "transports/coap/test_wire_network.py": {"test_without_loss_every_request_is_answered"},
        "transports/coap/test_repeats.py": {"test_repeats_of_whatever_was_taken_change_nothing"},
        "transports/channel/test_dtls_cookies.py": {
            "test_only_records_that_nothing_protects_are_renumbered",
            "test_records_are_packed_whole_and_in_order",
        },
        "transports/fairness/test_fair_queue.py": {
            "test_a_flood_never_keeps_out_whoever_has_less",
            "test_each_member_keeps_its_order",
            "test_while_a_group_waits_no_other_has_two_turns_more",
        },
    },
    "all inputs have to be refused, and for the same reason": {
        "core/checks/test_hosts.py": {"test_a_protected_name_is_found_wherever_a_host_stands"},
        "transports/authority/test_profiles.py": {"test_no_spelling_of_an_own_name_passes"},
        "transports/channel/test_tls_failures.py": {
            "test_a_flight_cut_anywhere_is_a_connection_closed"
        },
    },
}
"""Properties that need no count, and why."""


def _name(node: ast.expr) -> str:
    """Return the last part of what is called or named."""
    match node:
        case ast.Call(func=function):
            return _name(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def properties(tree: ast.AST) -> Iterator[Function]:
    """Yield the functions that hypothesis gives examples to."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and "given" in map(_name, node.decorator_list):
            yield node


def floors(node: Function) -> list[float]:
    """Return what a property has to reach, in percent."""
    return [
        keyword.value.value
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and _name(decorator) == "reaches"
        for keyword in decorator.keywords
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, int | float)
    ]


def ways_out(node: Function) -> list[str]:
    """Return how an example can end well though nothing was asked of it."""
    found = []
    functions = [each for each in ast.walk(node) if isinstance(each, Function) and each is not node]
    inside = {each for function in functions for each in ast.walk(function)}
    for each in ast.walk(node):
        match each:
            case ast.Try() | ast.TryStar():
                found.append("except")
            case ast.Call() if _name(each) in ("suppress", "refusals", "assume", "reject"):
                found.append(_name(each))
            case ast.Return() if each not in inside:
                found.append("return")
    return found


def uncounted_machines(tree: ast.AST) -> Iterator[str]:
    """Yield the state machines that no function runs and then asks what they reached."""
    counted: set[str] = set()
    for function in ast.iter_child_nodes(tree):
        if isinstance(function, Function):
            calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
            if any(_name(call) == "require" and call.keywords for call in calls):
                runs = [call for call in calls if _name(call) == "run_state_machine_as_test"]
                counted.update(_name(call.args[0]) for call in runs)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name not in counted:
            yield from [node.name for base in node.bases if _name(base).endswith("StateMachine")]


def _modules() -> Iterator[tuple[str, str]]:
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text("utf-8")
        if "hypothesis" in text:
            yield path.relative_to(TESTS).as_posix(), text


MODULES: Final = dict(_modules())


@cache
def tree_of(path: str) -> ast.Module:
    """Return what a module says. To collect these tests is to parse none."""
    return ast.parse(MODULES[path])


NEED_NO_COUNT: Final = {
    (path, name)
    for places in REFUSES_NOTHING.values()
    for path, names in places.items()
    for name in names
}


@pytest.mark.parametrize("path", [path for path, text in MODULES.items() if "given(" in text])
def test_a_property_counts_what_its_inputs_reach_or_refuses_nothing(path: str) -> None:
    for node in properties(tree_of(path)):
        where = f"tests/{path}:{node.lineno} {node.name}"
        if (path, node.name) in NEED_NO_COUNT:
            assert not floors(node), f"{where}: has a count, and is said to need none"
            assert not ways_out(node), f"{where}: has a way out, so count who takes it not"
        else:
            assert floors(node), f"{where}: say with @reaches how far its inputs come"
            assert min(floors(node)) > 0, where


def test_a_state_machine_counts_what_it_reaches() -> None:
    wrong = [f"{path}: {name}" for path in MODULES for name in uncounted_machines(tree_of(path))]
    assert not wrong, f"run them by run_state_machine_as_test, and require a Tally: {wrong}"


def test_what_needs_no_count_is_still_there() -> None:
    found = {(path, node.name) for path in MODULES for node in properties(tree_of(path))}
    assert found >= NEED_NO_COUNT


PROPERTY: Final = "@{}given(x=y)\ndef test(x):\n    {}\n"


@pytest.mark.parametrize(
    "body, found",
    [
        ("assert f(x) == x", []),
        ("if x:\n        return\n    assert x", ["return"]),
        ("with suppress(E):\n        f(x)", ["suppress"]),
        ("try:\n        f(x)\n    except E:\n        pass", ["except"]),
        ("assume(x)", ["assume"]),
        ("def f():\n        return x\n    assert f()", []),
    ],
)
def test_a_way_out_is_seen(body: str, found: list[str]) -> None:
    (node,) = properties(ast.parse(PROPERTY.format("hypothesis.", body)))
    assert ways_out(node) == found


def test_a_machine_that_is_not_asked_is_seen() -> None:
    machine = "class M(RuleBasedStateMachine): pass\n"
    run = "def test():\n    run_state_machine_as_test(M)\n"
    assert list(uncounted_machines(ast.parse(machine + "TestM = M.TestCase"))) == ["M"]
    assert list(uncounted_machines(ast.parse(machine + run))) == ["M"]
    assert not list(uncounted_machines(ast.parse(machine + run + "    t.require(a=1)")))


def test_the_tests_are_where_they_are_looked_for() -> None:
    assert Path(__file__).relative_to(TESTS).as_posix() in MODULES
