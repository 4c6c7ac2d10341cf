"""The reference says what the code says: commands, keys, bounds, statuses, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import click
import pytest

from est_core import (
    CSRATTRS,
    OPERATIONS,
    RENEWAL_INFO,
    AuthChallenge,
    Fault,
    Limits,
    Operation,
    Outcome,
    Part,
    Refused,
    Response,
    coapmap,
    httpmap,
)
from est_transports.channel.dtls_limits import DtlsLimits
from est_transports.cli import group
from est_transports.cli.errors import ExitCode
from est_transports.client_config import ClientTimeouts
from est_transports.coap.limits import CoapLimits
from est_transports.http.settings import Timeouts
from est_transports.service.config.keys import KEYS
from est_transports.service.config.reader import asked_keys, load_config
from tests.answers import response_of
from tests.docs import api_page, config_page
from tests.docs.pages import DOCS
from tests.docs.parts import part
from tests.docs.tables import Row, codes, table, tables, words

REFERENCE = DOCS / "reference"
CLI = REFERENCE / "cli.md"
CONFIGURATION = REFERENCE / "configuration.md"
OPERATIONS_PAGE = REFERENCE / "operations-and-status.md"
EVERYWHERE = "Options of every command"
TIMES = "Times to live"
CLIENTS = "Options of all client commands"
WITH_OPTIONS_OF_ITS_OWN = "est doctor"
"""It asks a server like a client command, and enrolls nothing."""


# The command


def commands(
    command: click.Command = group, path: str = "est"
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, f"{path} {name}")


COMMANDS = dict(commands())


def options(command: click.Command) -> dict[str, click.Option]:
    """A command's options, by all their names."""
    return {
        ", ".join(each.opts): each
        for each in [*command.params, help_option(command)]
        if isinstance(each, click.Option)
    }


def help_option(command: click.Command) -> click.Option:
    """The option that prints help: made anew, for click keeps the one that it made first."""
    parent = click.Context(group, **group.context_settings)
    names = command.get_help_option_names(click.Context(command, parent=parent))
    return click.Option(names, is_flag=True)


def listed(heading: str) -> dict[str, Row]:
    """The options that the page lists under a heading."""
    return {", ".join(codes(row["option"])): row for row in table(CLI, heading)}


def listed_for(name: str) -> dict[str, Row]:
    """The options that the page lists for a command, common ones included."""
    found = listed(name)
    if name != WITH_OPTIONS_OF_ITS_OWN and any(
        isinstance(each, click.Argument) and each.name == "url" for each in COMMANDS[name].params
    ):
        found |= listed(CLIENTS)
    return found | listed(EVERYWHERE)


def test_every_command_has_a_heading_and_every_heading_a_command() -> None:
    headings = {heading for heading, _ in tables(CLI)} - {EVERYWHERE, CLIENTS, TIMES}
    assert headings == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_listed(name: str) -> None:
    assert set(listed_for(name)) == set(options(COMMANDS[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_values_and_defaults_of_options_are_right(name: str) -> None:
    wrong = []
    rows = listed_for(name)
    for names, option in options(COMMANDS[name]).items():
        row = rows[names]
        if isinstance(option.type, click.Choice):
            wrong += [names] * (words(row["value"]) != list(option.type.choices))
        elif option.is_flag == bool(row["value"]):
            wrong.append(names)
        if isinstance(option.default, str | int | float) and not option.is_flag:
            same = row["default"] in (str(option.default), f"{option.default:g}"
                                      if isinstance(option.default, float) else "")  # fmt: skip
            wrong += [names] * (not same)
    assert wrong == []


def test_the_exit_codes_are_listed() -> None:
    rows = table(REFERENCE / "exit-codes.md", "Exit codes of `est`")
    assert [(int(row["code"]), row["name"]) for row in rows] == [
        (code.value, code.name.lower()) for code in ExitCode
    ]


# The configuration

HEADINGS = {table: f"{table}.NAME" for table in ("manufacturers", "profiles", "labels")}
OUTER = {"", "manufacturers", "profiles", "labels", "labels.NAME.csrattrs"}
"""Tables that hold others, and one that is like another."""


def test_every_table_of_the_configuration_has_a_heading() -> None:
    assert set(asked_keys()[""]) == {
        line.removeprefix("## ")
        for line in CONFIGURATION.read_text("utf-8").splitlines()
        if line.startswith("## ")
    }


def test_every_key_that_is_read_has_a_meaning() -> None:
    asked = asked_keys()
    assert {table: {key.name for key in keys} for table, keys in KEYS.items()} == {
        table: set(keys) for table, keys in asked.items() if table not in OUTER
    }
    assert asked["labels.NAME.csrattrs"] == asked["csrattrs"]
    for keys in KEYS.values():
        assert len({key.name for key in keys}) == len(keys)
        assert all(key.meaning for key in keys)


def test_every_number_of_the_configuration_has_a_unit() -> None:
    for table_name, asked in asked_keys().items():
        for key in KEYS.get(table_name, ()):
            is_number = asked[key.name].kind in {"integer", "seconds"}
            assert bool(key.unit) or not is_number, key
            assert is_number or not key.counted, key


def test_the_tables_of_the_configuration_are_made_from_the_reader() -> None:
    for made_by, text in config_page.parts().items():
        assert part(CONFIGURATION, made_by) == text, f"run: {config_page.COMMAND}"
    for made_by, text in config_page.bounds().items():
        assert part(config_page.LIMITS, made_by) == text, f"run: {config_page.COMMAND}"


def test_every_table_of_the_configuration_is_under_its_heading_and_there_is_no_other() -> None:
    shown = {
        HEADINGS.get(heading, heading): [codes(row["key"])[0] for row in rows]
        for heading, rows in tables(CONFIGURATION)
    }
    assert shown == {table: [key.name for key in keys] for table, keys in KEYS.items()}


def test_every_link_of_a_meaning_is_one_of_a_key() -> None:
    known = {(table_name, key.name) for table_name, keys in KEYS.items() for key in keys}
    assert set(config_page.LINKS) <= known


def test_the_defaults_of_the_configuration_are_right(tmp_path: Path) -> None:
    names = {
        "manufacturers": "manufacturers.x",
        "profiles": "profiles.client",
        "labels": "labels.x",
    }
    text = ""
    for heading, rows in tables(CONFIGURATION):
        if heading in ("csrattrs.for", "ca.former"):  # an array: one table more is one rule more
            continue
        text += f"[{names.get(heading, heading)}]\n"
        for row in rows:
            if row["default"] != "none":
                text += f"{codes(row['key'])[0]} = {codes(row['default'])[0]}\n"
    empty, full = tmp_path / "empty.toml", tmp_path / "full.toml"
    empty.write_text("[manufacturers.x]\n[labels.x]\n")
    full.write_text(text)
    assert load_config(full) == load_config(empty)


# Bounds

Bounds = Limits | Timeouts | ClientTimeouts | CoapLimits | DtlsLimits


@pytest.mark.parametrize(
    "heading, usual, constrained",
    [
        ("What a peer may send", Limits(), Limits.constrained),
        ("Timeouts of a server", Timeouts(), None),
        ("Timeouts of a client", ClientTimeouts(), None),
        ("What one CoAP connection may hold", CoapLimits(), CoapLimits.constrained),
        ("What all clients of a DTLS server may hold", DtlsLimits(), DtlsLimits.constrained),
    ],
)
def test_limits_and_timeouts_are_right(
    heading: str,
    usual: Bounds,
    constrained: Callable[[], Bounds] | None,
) -> None:
    rows = table(REFERENCE / "limits.md", heading)
    expected = [(each.name, str(getattr(usual, each.name))) for each in fields(usual)]
    assert [(codes(row["name"])[0], row["default"]) for row in rows] == expected
    if constrained is not None:
        small = constrained()
        assert [row["constrained"] for row in rows] == [
            str(getattr(small, each.name)) for each in fields(small)
        ]


def test_fixed_bounds_are_right() -> None:
    for row in table(REFERENCE / "limits.md", "Fixed bounds"):
        module, _, name = codes(row["name"])[0].rpartition(".")
        assert str(getattr(import_module(module), name)) == row["value"], name


# Operations and statuses


def written(response: Response) -> httpmap.ResponseHead:
    """The head of a response."""
    return httpmap.write(response, httpmap.ReplyShape())[0]


def some_response(operation: Operation | None, outcome: Outcome, fault: Fault | None) -> Response:
    """A response of that kind."""
    if operation is None or fault is not None:
        return Refused(operation=operation, fault=fault or Fault.INTERNAL)
    return response_of(
        outcome,
        operation,
        parts=(Part(kind=operation.parts[0].kind, content=b"0\0"),),
        challenges=(AuthChallenge(scheme="Basic"),),
        retry_after=5,
    )


def test_the_operations_are_listed() -> None:
    found = []
    for operation in (*OPERATIONS, RENEWAL_INFO):
        head = written(some_response(operation, Outcome.OK, None))
        requested = operation.http_row.request_type
        usual = {Outcome.OK, Outcome.CHALLENGE, Outcome.DENIED, Outcome.FAULT}
        found.append(
            {
                "operation": f"`{operation.name}`",
                "method": operation.method,
                "request": f"`{requested}`" if requested else "",
                "answer": f"`{head.values(b'content-type')[0].decode()}`",
                "who, by default": operation.authentication.value,
                "certificates that count": ", ".join(
                    sorted(trust.value for trust in operation.certificate_trust)
                ),
                "outcomes besides OK, challenge, denied, fault": ", ".join(
                    outcome.value for outcome in operation.outcomes - usual
                ),
            }
        )
    assert table(OPERATIONS_PAGE, "Operations") == found


def test_the_statuses_are_listed() -> None:
    words_of: dict[tuple[int, bytes], set[str]] = {}
    outcomes = (Outcome.OK, Outcome.PENDING, Outcome.NOT_AVAILABLE, Outcome.CHALLENGE)
    for outcome in outcomes:
        head = written(some_response(CSRATTRS, outcome, None))
        words_of.setdefault((head.status, head.phrase), set()).add(outcome.value)
    for fault in Fault:
        outcome = Outcome.DENIED if fault is Fault.FORBIDDEN else Outcome.FAULT
        head = written(some_response(None, outcome, fault))
        words_of.setdefault((head.status, head.phrase), set()).add(fault.value)
    assert [
        (row["status"], row["phrase"], set(words(row["outcome or fault"])))
        for row in table(OPERATIONS_PAGE, "What a server sends")
    ] == [
        (str(status), phrase.decode(), found)
        for (status, phrase), found in sorted(words_of.items())
    ]


def test_the_operations_on_coap_are_listed() -> None:
    assert table(OPERATIONS_PAGE, "Operations on CoAP") == [
        {
            "operation": f"`{operation.name}`",
            "short path": f"`{row.short_path}`",
            "method": operation.method,
            "request": str(int(row.request_format)) if row.request_format else "",
            "answer": ", ".join(str(int(number)) for number in row.answer_formats),
            "resource type": f"`ace.est.{row.short_path}`",
        }
        for operation, row in ((each, each.coap_row) for each in (*OPERATIONS, RENEWAL_INFO))
    ]


def test_the_codes_of_coap_are_listed() -> None:
    outcomes = [(operation, Outcome.OK) for operation in OPERATIONS]
    outcomes += [
        (CSRATTRS, outcome)
        for outcome in (Outcome.PENDING, Outcome.NOT_AVAILABLE, Outcome.CHALLENGE)
    ]
    words_of: dict[str, set[str]] = {}
    for operation, outcome in outcomes:
        code = coap_code(some_response(operation, outcome, None))
        words_of.setdefault(code, set()).add(outcome.value)
    for fault in Fault:
        outcome = Outcome.DENIED if fault is Fault.FORBIDDEN else Outcome.FAULT
        code = coap_code(some_response(None, outcome, fault))
        words_of.setdefault(code, set()).add(fault.value)
    assert {
        row["code"]: set(words(row["outcome or fault"]))
        for row in table(OPERATIONS_PAGE, "What a CoAP server sends")
    } == words_of


def coap_code(response: Response) -> str:
    """The code of a response as people write it."""
    status = coapmap.status_of(coapmap.write(response, coapmap.ReplyShape())[0].code)
    return f"{status // 100}.{status % 100:02}"


# Names


def test_the_list_of_public_names_is_what_the_sources_say() -> None:
    assert api_page.PAGE.read_text("utf-8") == api_page.page(), "run: python -m tests.docs.api_page"
