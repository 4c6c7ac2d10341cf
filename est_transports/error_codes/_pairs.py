"""The error codes of directories of pairs: a certificate and its key on disk."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

PAIRS: Final = (
    Section(
        title="A certificate and its key on disk",
        note="Whatever the code, the running pair is as it was.",
        codes=(
            ErrorCode(
                code="pair/locked",
                cause="another process works in this directory",
                remedy="wait until that process is done, or end it: its lock ends with it",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/no-directory",
                cause="there is no directory of pairs at this path",
                remedy="check the path",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/foreign",
                cause="something else has a name that the directory of pairs needs",
                remedy="look at what it is, and move it away if nothing needs it there",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/damaged",
                cause="a file of the pair or candidate is missing, cut off, or of another pair",
                remedy=(
                    "look into `pairs` and restore the file from a backup; or run `est roll-back` "
                    "for the pair before, or `est discard` for a damaged candidate"
                ),
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/bad-key",
                cause="the key cannot be read: damaged, of an unknown kind, or another password",
                remedy="check the password, and that the file holds a private key in PEM",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/key-mismatch",
                cause="the certificate is for another key than the one beside it",
                remedy="enroll again, and do not copy a key or certificate into a pair",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/key-elsewhere",
                cause="TLS needs the key in a file, and this pair has a reference to it",
                remedy="use the key through its token, or enroll with a key in a file",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/out-of-order",
                cause="the step does not fit what is there, such as a second candidate",
                remedy="look at what the directory holds; promote or discard the candidate first",
                audience=Audience.AUTHOR,
            ),
            ErrorCode(
                code="pair/no-previous",
                cause="no pair ran before the running one, or it was removed",
                remedy="enroll anew; there is nothing to go back to",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/disk-full",
                cause="the disk, or the user's share of it, is full",
                remedy="make room on that disk, and run the command again",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/not-writable",
                cause="the user or the file system does not allow to read or write there",
                remedy="run the command as the owner of the directory, on a disk that is writable",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/disk",
                cause="the disk refused a write or read for another reason, which the text has",
                remedy="check the disk and its file system; a failing one must be replaced",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="pair/busy",
                cause="the directory changed during each of many looks at it",
                remedy="try again; if it happens each time, find out which process writes there",
                audience=Audience.USER,
            ),
        ),
    ),
)
