"""The error codes of backups of a CA's directory."""

from __future__ import annotations

from typing import Final

from est_core.error_codes import Audience, ErrorCode, Section

BACKUP: Final = (
    Section(
        title="Backups of a CA",
        note="Whatever the code, nothing was written or replaced.",
        codes=(
            ErrorCode(
                code="backup/unknown",
                cause="the file is not one that `est backup` has written, or only its beginning",
                remedy="check the path, and whether the file was encrypted or compressed",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="backup/damaged",
                cause="the file of a backup was cut off or changed, or is made to do harm",
                remedy="take another copy of it, or an older backup",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="backup/newer",
                cause="the backup was written by a newer release, in a form that this one lacks",
                remedy="use that release, or a later one",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="backup/store-damaged",
                cause="the store in the backup is what was taken, and SQLite finds it damaged",
                remedy="take an older backup",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="backup/changing",
                cause="a file became shorter while it was taken into a backup",
                remedy="repeat est backup when nobody writes the file",
                audience=Audience.USER,
            ),
            ErrorCode(
                code="backup/in-use",
                cause="a server, or another command, has the store of the directory open",
                remedy="end it first: stop the server, restore, then start it again",
                audience=Audience.USER,
            ),
        ),
    ),
)
