"""A disk of which a power loss takes what was not synced: every state that it may leave.

`RecordedDisk` follows what a program does to files below a directory, by way of `fault_points`, and
knows what of that is on the disk for sure. The model is as bad as the guarantees allow:

* A file that was not synced since it was written has its content, the first half of it, or nothing.
* Of a directory that was not synced, each name by itself leads to what it led to at any time since
  the last sync: changes are lost or kept in any subset, in no order.
* A file or directory that no name leads to is gone. The target of a symbolic link comes with it.

A file system keeps more than that, most of them an order; none keeps less and says it has synced.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

Tree = tuple[tuple[str, bytes | str | None], ...]
"""What a disk holds: paths in order, with contents; a text is where a link leads."""


@dataclass(eq=False)
class File:
    """A file: what it holds, and whether that is on the disk."""

    content: bytes = b""
    is_synced: bool = True

    def states(self) -> tuple[bytes, ...]:
        """Return what may be found in it."""
        if self.is_synced:
            return (self.content,)
        half = self.content[: len(self.content) // 2]
        return tuple(dict.fromkeys((b"", half, self.content)))


@dataclass(eq=False)
class Link:
    """A symbolic link."""

    target: str


@dataclass(eq=False)
class Directory:
    """A directory: what each name leads to now, and led to since the last sync, oldest first."""

    names: dict[str, list[Node | None]] = field(default_factory=dict)

    def get(self, name: str) -> Node | None:
        """Return what a name leads to now."""
        return self.names.get(name, [None])[-1]

    def put(self, name: str, node: Node | None) -> None:
        """Have a name lead to something else, or nothing; it is not on the disk."""
        self.names.setdefault(name, [None]).append(node)

    def sync(self) -> None:
        """Have on the disk what the names lead to now."""
        now = {name: nodes[-1] for name, nodes in self.names.items()}
        self.names = {name: [node] for name, node in now.items() if node is not None}


Node = File | Link | Directory


class RecordedDisk:
    """What is on the disk below a directory, from the calls that a program makes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = Directory()
        self._opened: dict[int, File | Directory] = {}

    @classmethod
    def holding(cls, path: Path) -> RecordedDisk:
        """Return a disk that holds for sure what is below a directory now."""
        disk = cls(path)
        _fill(disk.root, path)
        return disk

    def call(self, name: str, given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        """Follow a call of `os` that was done."""
        match name:
            case "open":
                self._open(result, given[0], given[1], named.get("dir_fd"))
            case "write" | "pwrite":
                self._write(given[0], bytes(given[1]), append=name == "write")
            case "ftruncate":
                self._change(given[0], b"")
            case "fsync":
                self._sync(given[0])
            case "rename":
                self._rename(given, named)
            case "symlink":
                self._put(given[1], named.get("dir_fd"), Link(given[0]))
            case "mkdir":
                self._put(given[0], named.get("dir_fd"), Directory())
            case "unlink" | "rmdir":
                self._put(given[0], named.get("dir_fd"), None)

    def _place(self, path: Any, dir_fd: int | None) -> tuple[Directory, str] | None:
        """Return the directory that a name is in; None outside of what is followed."""
        if dir_fd is not None:
            parent = self._opened.get(dir_fd)
            return (parent, os.fspath(path)) if isinstance(parent, Directory) else None
        absolute = Path(os.path.abspath(path))
        if absolute == self.path or self.path not in absolute.parents:
            return None
        node: Node | None = self.root
        *above, name = absolute.relative_to(self.path).parts
        for part in above:
            node = node.get(part) if isinstance(node, Directory) else None
        return (node, name) if isinstance(node, Directory) else None

    def _open(self, descriptor: int, path: Any, flags: int, dir_fd: int | None) -> None:
        self._opened.pop(descriptor, None)  # of a file that was closed
        place = self._place(path, dir_fd)
        if place is None:
            if dir_fd is None and Path(os.path.abspath(path)) == self.path:
                self._opened[descriptor] = self.root
            return
        directory, name = place
        node = directory.get(name)
        if node is None and flags & os.O_CREAT:
            node = File()
            directory.put(name, node)
        if isinstance(node, File | Directory):
            self._opened[descriptor] = node

    def _write(self, descriptor: int, content: bytes, *, append: bool) -> None:
        node = self._opened.get(descriptor)
        if isinstance(node, File):
            self._change(descriptor, node.content + content if append else content)

    def _change(self, descriptor: int, content: bytes) -> None:
        node = self._opened.get(descriptor)
        if isinstance(node, File):
            node.content, node.is_synced = content, False

    def _sync(self, descriptor: int) -> None:
        node = self._opened.get(descriptor)
        if isinstance(node, Directory):
            node.sync()
        elif node is not None:
            node.is_synced = True

    def _rename(self, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        old = self._place(given[0], named.get("src_dir_fd"))
        new = self._place(given[1], named.get("dst_dir_fd"))
        assert old is not None
        assert new is not None
        node = old[0].get(old[1])
        new[0].put(new[1], node)
        old[0].put(old[1], None)

    def _put(self, path: Any, dir_fd: int | None, node: Node | None) -> None:
        place = self._place(path, dir_fd)
        if place is not None:
            place[0].put(place[1], node)

    def states(self, chance: random.Random, max_states: int) -> Iterator[Tree]:
        """Yield what a power loss may leave now: all of it, or samples of more than `max_states`.

        All kept and all lost are among the samples.
        """
        choices = list(_choices(self.root))
        keys, possible = [key for key, _ in choices], [each for _, each in choices]
        chosen: Iterable[tuple[Any, ...]] = product(*possible)
        if prod(map(len, possible)) > max_states:
            samples = (tuple(map(chance.choice, possible)) for _ in range(max_states - 2))
            lost, kept = (tuple(each[at] for each in possible) for at in (0, -1))
            chosen = (lost, kept, *samples)
        for each in chosen:
            yield tuple(_tree(self.root, "", dict(zip(keys, each, strict=True))))


def _fill(node: Directory, path: Path) -> None:
    for each in path.iterdir():
        found: Node
        if each.is_symlink():
            found = Link(os.readlink(each))
        elif each.is_dir():
            found = Directory()
            _fill(found, each)
        else:
            found = File(each.read_bytes())
        node.names[each.name] = [found]


Choice = tuple[tuple[int, str], tuple[Any, ...]]


def _choices(node: Node | None, seen: set[int] | None = None) -> Iterator[Choice]:
    """Yield what is not sure about anything that a name may lead to: by object, and name."""
    seen = set() if seen is None else seen
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, File):
        if not node.is_synced:
            yield (id(node), ""), node.states()
    elif isinstance(node, Directory):
        for name, nodes in node.names.items():
            if len(set(map(id, nodes))) > 1:
                yield (id(node), name), tuple({id(each): each for each in nodes}.values())
            for each in nodes:
                yield from _choices(each, seen)


def _tree(
    node: Directory, above: str, chosen: dict[tuple[int, str], Any]
) -> Iterator[tuple[str, bytes | str | None]]:
    for name in sorted(node.names):
        path = f"{above}{name}"
        found = chosen.get((id(node), name), node.names[name][-1])
        match found:
            case File():
                yield path, chosen.get((id(found), ""), found.content)
            case Link():
                yield path, found.target
            case Directory():
                yield path, None
                yield from _tree(found, f"{path}/", chosen)


def put_on_disk(tree: Tree, path: Path) -> None:
    """Make a directory that holds what a power loss left."""
    path.mkdir()
    for name, content in tree:
        match content:
            case None:
                (path / name).mkdir()
            case str():
                (path / name).symlink_to(content)
            case bytes():
                (path / name).write_bytes(content)
