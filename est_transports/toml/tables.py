"""Tables of a TOML file, read key by key so that nothing in them goes unnoticed.

Whoever reads asks for each key with its type and range, then calls `done`: whatever was not asked
for is an unknown key. A slip of the pen so stops the start, instead of leaving a default in force.
It is reported when the top table is done, for only then is it known where a key would belong.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.values import value_class
from est_transports.toml.places import Places, places_in

_Choice = TypeVar("_Choice")

MAX_FILE_BYTES: Final = 1024 * 1024
INTEGER_MAX: Final = 2**31 - 1

_TABLE_TWICE: Final = re.compile(r"Cannot declare \((.+?),?\) twice(.*)", re.DOTALL)
_KEY_TWICE: Final = "Cannot overwrite a value"


class ConfigError(Exception):
    """A configuration file cannot be used.

    The text is one line: file, the line there, table and key, reason. `line` counts from 1; it is
    None where there is no place to tell, as of a key that is missing in a table that is.
    """

    def __init__(self, path: Path, where: str, reason: str, line: int | None = None) -> None:
        place = str(path) if line is None else f"{path} line {line}"
        super().__init__(f"{place}: {where}: {reason}" if where else f"{place}: {reason}")
        self.path = path
        self.where = where
        self.reason = reason
        self.line = line


@value_class
class Asked:
    """What a reader asks of a key: the kind of value, its default, and what it may be.

    `kind` is the name of TomlTable's method; `default` is as TOML has it, None for none. `least`
    and `most` are the bounds of a number, `words` those of which a choice is made.
    """

    kind: str
    default: object = None
    least: float | None = None
    most: float | None = None
    words: tuple[str, ...] = ()


@value_class
class NamedFile:
    """A file that a key names, by being there or by default. `table` is "" for the top one."""

    table: str
    key: str
    path: Path


@dataclass(slots=True)
class _Reading:
    """What the tables of one file tell each other: keys by table, and what nobody asked for.

    `moved` has what became of keys that older files have, by table and key; `files` are those that
    were named so far.
    """

    places: Places = field(default_factory=dict)
    asked: dict[str, dict[str, Asked]] = field(default_factory=dict)
    unknown: list[Callable[[], ConfigError]] = field(default_factory=list)
    moved: Mapping[tuple[str, str], str] = field(default_factory=dict)
    files: list[NamedFile] = field(default_factory=list)

    def homes(self, key: str) -> tuple[str, ...]:
        """Return the tables that have this key."""
        return tuple(name for name, keys in self.asked.items() if name and key in keys)


class TomlTable:
    """One table being read. Every method raises ConfigError for a value of another type."""

    def __init__(
        self,
        path: Path,
        name: str,
        content: Mapping[str, object],
        reading: _Reading | None = None,
        number: int | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self._place = name if number is None else f"{name}#{number}"
        self._content = content
        self._reading = reading or _Reading()
        self._asked = self._reading.asked.setdefault(name, {})

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def names(self) -> tuple[str, ...]:
        """Return the keys that are there, in their order."""
        return tuple(self._content)

    def error(self, key: str, reason: str) -> ConfigError:
        """Return the error to raise about a key, or about the whole table where it is empty."""
        heading = f"[{self.name}]" if self.name else ""
        where = " ".join(part for part in (heading, key) if part)
        return ConfigError(self.path, where, reason, self._line(key))

    def _line(self, key: str) -> int | None:
        """Return the line of a key, or of the next table around it that has one."""
        place = f"{self._place}.{key}".strip(".")
        while place:
            if line := self._reading.places.get(place):
                return line
            place = place.rpartition(".")[0]
        return None

    @contextmanager
    def checks(self, key: str = "") -> Iterator[None]:
        """Turn the core's verdict on a value made inside the block into a ConfigError."""
        try:
            yield
        except LocalProtocolError as exc:
            raise self.error(key, exc.message) from exc
        except RemoteProtocolError as exc:
            raise self.error(key, str(exc)) from exc

    def text(self, key: str, default: str) -> str:
        """Return a string that is not empty."""
        found = self._take(key, Asked(kind="text", default=default))
        return default if found is None else self._text(key, found)

    def optional_text(self, key: str) -> str | None:
        """Return a string that is not empty, or None where the key is missing."""
        found = self._take(key, Asked(kind="text"))
        return None if found is None else self._text(key, found)

    def optional_lines(self, key: str) -> str | None:
        """Return a string that may have several lines and is not empty, or None."""
        found = self._take(key, Asked(kind="text"))
        if isinstance(found, str):
            self._text(key, " ".join(found.split()))
            return found
        return None if found is None else self._text(key, found)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return an array of strings."""
        found = self._take(key, Asked(kind="texts", default=default))
        return default if found is None else self._texts(key, found)

    def integer(self, key: str, default: int, *, least: int = 0, most: int = INTEGER_MAX) -> int:
        """Return an integer within the range."""
        found = self._integer(key, default, least=least, most=most)
        return default if found is None else found

    def optional_integer(self, key: str, *, least: int = 0, most: int = INTEGER_MAX) -> int | None:
        """Return an integer within the range, or None where the key is missing."""
        return self._integer(key, None, least=least, most=most)

    def _integer(self, key: str, default: int | None, *, least: int, most: int) -> int | None:
        found = self._take(key, Asked(kind="integer", default=default, least=least, most=most))
        if found is None:
            return None
        if not isinstance(found, int) or isinstance(found, bool):
            raise self.error(key, "is not an integer")
        if not least <= found <= most:
            raise self.error(key, f"is not between {least} and {most}")
        return found

    def seconds(self, key: str, default: float, *, most: float = 86400.0) -> float:
        """Return a time in seconds, more than zero."""
        found = self._take(key, Asked(kind="seconds", default=default, most=most))
        if found is None:
            return default
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self.error(key, "is not a number of seconds")
        if not 0 < found <= most:  # not true of "nan"
            raise self.error(key, f"is not more than 0 and at most {most:.0f} seconds")
        return float(found)

    def share(self, key: str, default: float) -> float:
        """Return a share of a whole, between 0 and 1."""
        found = self._take(key, Asked(kind="share", default=default, least=0, most=1))
        if found is None:
            return default
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self.error(key, "is not a number")
        if not 0 <= found <= 1:  # not true of "nan"
            raise self.error(key, "is not between 0 and 1")
        return float(found)

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        found = self._take(key, Asked(kind="flag", default=default))
        return default if found is None else self._flag(key, found)

    def optional_flag(self, key: str) -> bool | None:
        """Return a boolean, or None where the key is missing."""
        found = self._take(key, Asked(kind="flag"))
        return None if found is None else self._flag(key, found)

    def choice(self, key: str, options: Mapping[str, _Choice], default: _Choice) -> _Choice:
        """Return what one of the words stands for."""
        usual = next((word for word, value in options.items() if value == default), None)
        found = self._take(key, Asked(kind="choice", default=usual, words=tuple(options)))
        return default if found is None else self._option(key, found, options)

    def choices(
        self, key: str, options: Mapping[str, _Choice], default: tuple[_Choice, ...]
    ) -> tuple[_Choice, ...]:
        """Return what each word of an array stands for."""
        usual = tuple(word for word, value in options.items() if value in default)
        found = self._take(key, Asked(kind="choices", default=usual, words=tuple(options)))
        if found is None:
            return default
        return tuple(self._option(key, word, options) for word in self._texts(key, found))

    def file(self, key: str, default: str) -> Path:
        """Return the path of a file; a relative one starts at the directory of this TOML file."""
        found = self._take(key, Asked(kind="file", default=default))
        return self._named(key, default if found is None else self._text(key, found))

    def optional_file(self, key: str) -> Path | None:
        """Return the path of a file, or None where the key is missing."""
        found = self._take(key, Asked(kind="file"))
        return None if found is None else self._named(key, self._text(key, found))

    def files(self, key: str) -> tuple[Path, ...]:
        """Return the paths of an array of files."""
        found = self._take(key, Asked(kind="files", default=()))
        names = () if found is None else self._texts(key, found)
        return tuple(self._named(key, name) for name in names)

    def _named(self, key: str, name: str) -> Path:
        path = self.path.parent / name
        self._reading.files.append(NamedFile(table=self.name, key=key, path=path))
        return path

    def table(self, key: str, reason: str = "is not a table") -> TomlTable:
        """Return a table inside this one, empty where it is missing. `reason`: of what is none."""
        found = self._take(key, Asked(kind="table"))
        inside = self._inside(key)
        if found is None:
            return TomlTable(self.path, inside, {}, self._reading)
        if not isinstance(found, dict):
            raise self.error(key, reason)
        return TomlTable(self.path, inside, found, self._reading)

    def tables(self, key: str) -> Iterator[tuple[str, TomlTable]]:
        """Yield the names and tables of a table that holds nothing else, in their order."""
        around = self.table(key)
        for name in around.names():
            reason = f"is not a table: keys stand in one of them, [{around.name}.NAME]"
            yield name, around.table(name, reason)

    def array(self, key: str) -> Iterator[TomlTable]:
        """Yield the tables of an array of tables, in their order."""
        found = self._take(key, Asked(kind="array"))
        if not (found is None or isinstance(found, list)) or not all(
            isinstance(each, dict) for each in found or ()
        ):
            raise self.error(key, f"is not an array of tables: write [[{self._inside(key)}]]")
        for number, each in enumerate(found or (), 1):
            yield TomlTable(self.path, self._inside(key), each, self._reading, number)

    def _inside(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def done(self) -> None:
        """Note keys that nobody asked for; the top table, which is done last, refuses them.

        The error names the table where the key would belong, or the nearest key that there is.
        """
        unknown = self._reading.unknown
        unknown += [partial(self._unknown, key) for key in self._content if key not in self._asked]
        if not self.name and unknown:
            raise unknown[0]()

    def _unknown(self, key: str) -> ConfigError:
        if moved := self._reading.moved.get((self.name, key)):
            return self.error(key, moved)
        kind = "table" if isinstance(self._content[key], dict) else "key"
        homes = self._reading.homes(key) if kind == "key" else ()
        near = difflib.get_close_matches(key, sorted(self._asked), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if homes:
            hint = "; it belongs in " + " or ".join(f"[{name}]" for name in homes[:3])
        return self.error(key, f"unknown {kind}{hint}")

    def asked(self) -> Mapping[str, Mapping[str, Asked]]:
        """Return what was asked so far in all tables of the file, by table and key."""
        return self._reading.asked

    def files_named(self) -> tuple[NamedFile, ...]:
        """Return the files that keys read so far name, in all tables of the file, in order."""
        return tuple(self._reading.files)

    def _take(self, key: str, asked: Asked) -> object | None:
        self._asked[key] = asked
        return self._content.get(key)

    def _text(self, key: str, found: object) -> str:
        if not isinstance(found, str):
            raise self.error(key, "is not a string")
        if not found or not found.isprintable():
            raise self.error(key, "is empty or holds control characters")
        return found

    def _texts(self, key: str, found: object) -> tuple[str, ...]:
        if not isinstance(found, list):
            raise self.error(key, "is not an array of strings")
        return tuple(self._text(key, item) for item in found)

    def _flag(self, key: str, found: object) -> bool:
        if not isinstance(found, bool):
            raise self.error(key, "is not true or false")
        return found

    def _option(self, key: str, found: object, options: Mapping[str, _Choice]) -> _Choice:
        word = self._text(key, found)
        if word not in options:
            words = ", ".join(repr(option) for option in options)
            raise self.error(key, f"{word!r} is none of {words}")
        return options[word]


def read_toml(path: Path, moved: Mapping[tuple[str, str], str] | None = None) -> TomlTable:
    """Return the top table of a TOML file. Raises ConfigError.

    `moved` says of keys that older files have, by table and key, what is written now.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ConfigError(path, "", "is a directory, pipe or device, not a file")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigError(path, "", exc.strerror or "cannot be read") from exc
    return toml_of(raw, path, moved)


def toml_of(
    raw: bytes, path: Path, moved: Mapping[tuple[str, str], str] | None = None
) -> TomlTable:
    """Return the top table of the content of a TOML file. Raises ConfigError."""
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(path, "", f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")  # some editors mark the byte order
        content = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        raise ConfigError(path, "", "is not UTF-8 text") from exc
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(path, "", _toml_reason(str(exc))) from exc
    return TomlTable(path, "", content, _Reading(places=places_in(text), moved=moved or {}))


def _toml_reason(text: str) -> str:
    """Return what tomllib says, in words that help where it is a table or a key said twice."""
    twice = _TABLE_TWICE.fullmatch(text)
    if twice:
        name = ".".join(re.findall(r"'([^']*)'", twice[1]))
        return f"table [{name}] is there already; put the key under it{twice[2]}"
    if text.startswith(_KEY_TWICE):
        return f"a key is there twice{text.removeprefix(_KEY_TWICE)}"
    return f"is not TOML: {text}"
