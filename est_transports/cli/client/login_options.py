"""The options by which a client logs in: --user, --token and --code, with what belongs to each."""

from __future__ import annotations

from dataclasses import field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

from est_core import CodeCredentials, CodeSource, EstUri, LocalProtocolError
from est_core.codec.authheader import write_authorization
from est_core.credentials import BearerCredentials, Password
from est_core.values import unchecked_value_class
from est_transports.channel.srp_users import SrpLogin
from est_transports.cli.client.login import Login
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.password_input import ask_password, password_from_stdin, secret_from_file
from est_transports.cli.paths import PATH

_IN_CSR: Final = {
    "challenge": CodeSource.CHALLENGE_PASSWORD,
    "otp": CodeSource.OTP_CHALLENGE,
}
_BASIC: Final = "basic"
_MAX_CODE_CHARS: Final = 255  # of a challengePassword: pkcs-9-ub-challengePassword of RFC 2985

LOGIN_OPTIONS: Final = (
    click.option("--user", metavar="NAME[:PASSWORD]",
                 help="Log in as NAME, by Digest or Basic as the server asks. A password given "
                 "here can be seen by others on this machine (ps): rather be asked, or use "
                 "--password-stdin."),
    click.option("--password-stdin", is_flag=True,
                 help="Read the password of --user or --srp-user from standard input."),
    click.option("--srp-user", metavar="NAME",
                 help="Shake hands as NAME by TLS-SRP: the password proves either side to the "
                 "other, without certificates. It is asked for, or read with --password-stdin."),
    click.option("--token", metavar="TOKEN",
                 help="Log in with this token (Bearer), where the server asks for one. Others on "
                 "this machine can see it (ps): rather use --token-file."),
    click.option("--token-file", type=PATH, metavar="FILE",
                 help="Read the token from a file, or with - from standard input."),
    click.option("--send-password", is_flag=True,
                 help="Send the password (by Basic), token or code with each request, without "
                 "being asked: for servers that refuse who does not log in and never ask."),
)  # fmt: skip

CODE_OPTIONS: Final = (
    click.option("--code", metavar="CODE",
                 help="Enroll with this one-time code. Others on this machine can see it (ps): "
                 "rather use --code-file."),
    click.option("--code-file", type=PATH, metavar="FILE",
                 help="Read the code from a file that holds nothing else, or with - from standard "
                 "input."),
    click.option("--code-in", type=click.Choice([_BASIC, *_IN_CSR]), default=_BASIC,
                 show_default=True,
                 help="Where the code goes: as the password of --user (or of nobody) by Basic, or "
                 "into the request's challengePassword or otpChallenge (RFC 7894)."),
)  # fmt: skip


@unchecked_value_class
class LoginOptions:
    """What was given to log in with, as it was given."""

    user: str | None = field(default=None, repr=False)
    password_stdin: bool = False
    srp_user: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    send_password: bool = False
    code: str | None = field(default=None, repr=False)
    code_file: Path | None = None
    code_in: str = _BASIC

    @property
    def has_token(self) -> bool:
        """True if there is a token."""
        return self.token is not None or self.token_file is not None

    @property
    def has_code(self) -> bool:
        """True if there is a one-time code, wherever it goes."""
        return self.code is not None or self.code_file is not None

    @property
    def logs_in(self) -> bool:
        """True if something is for HTTP to log in with."""
        return self.user is not None or self.has_token or (self.has_code and self.code_in == _BASIC)

    def check(self) -> None:
        """Raise CliError (USAGE) for what does not go together."""
        given_twice = {
            "--token and --token-file": self.token is not None and self.token_file is not None,
            "--code and --code-file": self.code is not None and self.code_file is not None,
            "--user and a token": self.user is not None and self.has_token,
            "--code-in basic and a token": self.has_token
            and self.has_code
            and self.code_in == _BASIC,
        }
        for what, is_so in given_twice.items():
            if is_so:
                raise CliError(f"{what} exclude each other", ExitCode.USAGE)
        if self.send_password and not self.logs_in:
            message = "--send-password goes with --user NAME, or a token or code to log in with"
            raise CliError(message, ExitCode.USAGE)
        if self.password_stdin and (self.user is None) == (self.srp_user is None):
            message = "--password-stdin goes with --user NAME or with --srp-user NAME"
            raise CliError(message, ExitCode.USAGE)
        if not self.has_code and self.code_in != _BASIC:
            raise CliError("--code-in goes with --code or --code-file", ExitCode.USAGE)
        if [self.password_stdin, _is_stdin(self.token_file), _is_stdin(self.code_file)].count(
            True
        ) > 1:
            raise CliError("standard input can be read for one thing only", ExitCode.USAGE)

    def read(
        self, uri: EstUri, *, implicit: bool
    ) -> tuple[Login, CodeCredentials | None, SrpLogin | None]:
        """Return what to log in with by HTTP, by a code in the CSR, and by TLS. Raises CliError."""
        self.check()
        return *self._read_http(uri, implicit=implicit), self._read_srp()

    def _read_http(self, uri: EstUri, *, implicit: bool) -> tuple[Login, CodeCredentials | None]:
        code = self._read_code()
        if code is not None and self.code_in != _BASIC:
            login = self._login(uri, None, implicit=implicit)
            return login, CodeCredentials(code=code, source=_IN_CSR[self.code_in])
        return self._login(uri, code, implicit=implicit), None

    def _read_code(self) -> str | None:
        """Return the code. Codes of other servers have forms of their own: any short line may be.

        What cannot be one is sent to nobody: a list of codes is all devices' secrets.
        """
        code = self.code
        if self.code_file is not None:
            code = secret_from_file(self.code_file, "--code-file", alone=True)
        if code is not None and len(code) > _MAX_CODE_CHARS:
            raise CliError(
                f"a code ends at {_MAX_CODE_CHARS} characters", ExitCode.USAGE,
                "give one code, without what else the server's operator keeps beside it",
            )  # fmt: skip
        return code

    def _read_srp(self) -> SrpLogin | None:
        if self.srp_user is None:
            return None
        if find_spec("tlslite") is None:
            raise CliError(
                "--srp-user needs tlslite-ng",
                ExitCode.LOCAL,
                "install it: pip install 'est-sansio[client,srp]'",
            )
        if self.password_stdin:
            password = password_from_stdin()
        else:
            password = ask_password(f"SRP password of {self.srp_user}")
        try:
            return SrpLogin(name=self.srp_user, password=password)
        except LocalProtocolError as exc:
            raise CliError(exc.message, ExitCode.USAGE) from exc

    def _login(self, uri: EstUri, code: str | None, *, implicit: bool) -> Login:
        name, colon, password = (self.user or "").partition(":")
        from_stdin = self.password_stdin and self.user is not None
        if code is not None and (colon or from_stdin):
            raise CliError(
                "a code takes the place of the password", ExitCode.USAGE, "give --user NAME alone"
            )
        if from_stdin and colon:
            raise CliError(
                "the password is given twice", ExitCode.USAGE, "use --password-stdin only"
            )
        given = password if colon else None
        if from_stdin:
            given = password_from_stdin()
        token = _read("--token-file", self.token, self.token_file)
        _check_sendable(name, given or code, token)
        return Login(
            None if self.user is None else name,
            given,
            uri=uri,
            token=token,
            code=code,
            is_unasked=self.send_password,
            implicit=implicit,
        )


def _is_stdin(path: Path | None) -> bool:
    return path is not None and str(path) == "-"


def _read(option: str, given: str | None, path: Path | None) -> str | None:
    return given if path is None else secret_from_file(path, option)


def _check_sendable(user: str, password: str | None, token: str | None) -> None:
    """Raise CliError (USAGE) for what no header can carry, before anything is sent."""
    try:
        Password(user=user, password=password or "")
        if token is not None:
            write_authorization(BearerCredentials(token=token))
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.USAGE) from exc
