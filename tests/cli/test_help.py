"""Help and usage errors: examples of every command, the nearest command, the version."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from est_core import __version__
from est_transports.cli import group, main
from est_transports.cli.examples import EXAMPLES

Capture = pytest.CaptureFixture[str]


def commands(
    command: click.Command = group, path: str = "est"
) -> Iterator[tuple[str, click.Command]]:
    """Every command and every group, by what is typed."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, f"{path} {name}")


COMMANDS = dict(commands())


def test_there_are_examples_of_every_command_and_of_no_other() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_of_a_command_ends_with_its_examples(path: str, capsys: Capture) -> None:
    assert main([*path.split()[1:], "--help"]) == 0
    shown = capsys.readouterr().out
    examples = shown.partition("Examples:\n")[2].splitlines()
    assert tuple(line.strip() for line in examples) == EXAMPLES[path]
    assert all(len(line) <= 80 for line in examples)


@pytest.mark.parametrize("line", sorted({line for each in EXAMPLES.values() for line in each}))
def test_an_example_is_a_command_line_that_can_be_read(line: str) -> None:
    words = shlex.split(line.partition(" <")[0])
    path = max((each for each in COMMANDS if line.startswith(each)), key=len)
    command = COMMANDS[path]
    rest = words[len(path.split()) :]
    with command.make_context(path, rest, resilient_parsing=True) as context:
        assert not isinstance(command, click.Group)
        assert context.args == []
    missing = [
        each.name
        for each in command.params
        if isinstance(each, click.Argument)
        and each.required
        and context.params[str(each.name)] is None
    ]
    assert missing == []


@pytest.mark.parametrize(
    "arguments, like",
    [
        (("enrll", "https://x"), "enroll or reenroll"),
        (("cacert",), "cacerts or certs"),
        (("certs", "lst", "ca"), "list"),
        (("user", "remov"), "remove"),
    ],
)
def test_of_a_command_that_there_is_not_the_nearest_is_named(
    arguments: tuple[str, ...], like: str, capsys: Capture
) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert f"did you mean {like}?" in err
    assert err.count("\n") == 1


def test_of_an_option_that_there_is_not_the_nearest_is_named(capsys: Capture) -> None:
    assert main(["cacerts", "--trst", "ca.pem", "https://x"]) == 2
    err = capsys.readouterr().err
    assert "Did you mean" in err
    assert "--trust" in err


def test_what_is_like_no_command_is_just_none(capsys: Capture) -> None:
    assert main(["frobnicate"]) == 2
    assert "did you mean" not in capsys.readouterr().err.lower()


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_has_a_short_option(option: str, capsys: Capture) -> None:
    assert main([option]) == 0
    assert __version__ in capsys.readouterr().out
