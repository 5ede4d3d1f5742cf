"""Model of a disk: the states of a folder after a power cut (ALICE, Pillai et al. 2014).

Certain is only the effect of a finished sync: octets of a file by its own fsync or fdatasync, names
in a folder by the folder's fsync, everything by syncfs. Each later write and name is present or
absent, independently: a partial write, a file with its length but zeros in it, a name before its
content, a later change without an earlier change. This is stricter than any real file system, where
a sync of a new file keeps its name as well. Octets under a failed sync are lost for good, as Linux
drops such pages: no later sync brings them back.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Generic, TypeVar

from tests.crash.recording import Event

_SECTOR: Final = 512  # octets that reach the disk together

_Change = TypeVar("_Change")


@dataclass(slots=True, eq=False)
class _Pending(Generic[_Change]):
    """Changes in order; the first `certain` changes ever made are on disk."""

    pending: list[_Change] = field(default_factory=list)
    certain: int = 0

    @property
    def made(self) -> int:
        return self.certain + len(self.pending)

    def take_certain(self, count: int) -> list[_Change]:
        """Remove and return the changes that are certain once the first `count` are."""
        step = max(0, count - self.certain)
        taken, self.pending = self.pending[:step], self.pending[step:]
        self.certain += step
        return taken


@dataclass(slots=True, eq=False)
class File(_Pending[tuple[int, bytes | None]]):
    """A file: writes as (offset, octets), truncations as (size, None).

    `copy` is a file that already holds the certain content.
    """

    content: bytearray = field(default_factory=bytearray)
    copy: Path | None = None

    def settle(self, count: int) -> None:
        for change in self.take_certain(count):
            _apply(self.content, change)
            self.copy = None


@dataclass(slots=True, eq=False)
class Folder(_Pending[tuple[str, "Node | None"]]):
    """A folder: added names as (name, node), removed names as (name, None)."""

    names: dict[str, "Node"] = field(default_factory=dict)
    now: dict[str, "Node"] = field(default_factory=dict)  # as the processes see it

    def change(self, name: str, node: "Node | None") -> None:
        self.pending.append((name, node))
        _name(self.now, name, node)

    def settle(self, count: int) -> None:
        for change in self.take_certain(count):
            _name(self.names, *change)


Node = File | Folder


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    at, octets = change
    if octets is None:
        del content[at:]
    size = at + len(octets or b"")
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if octets is not None:
        content[at:size] = octets


def _name(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _load(folder: Path) -> Folder:
    """A folder with all below it, assumed to be on disk."""
    made = Folder()
    for path in folder.iterdir():
        node: Node = _load(path) if path.is_dir() else File(content=bytearray(path.read_bytes()))
        made.names[path.name] = made.now[path.name] = node
    return made


class Disk:
    """The folder `root`, from its present state on, changed by the events of a log.

    `heeds` selects the syncs that count: without some of them, losses must be found.
    """

    def __init__(self, root: Path, heeds: Callable[[Event], bool] = lambda _: True) -> None:
        self._root = PurePosixPath(root)
        self._top = _load(root)
        self._inodes: dict[int, File] = {
            (root / name).stat().st_ino: node for name, node in _files(self._top)
        }
        self._heeds = heeds
        self._begun: dict[int, list[tuple[Node, int]]] = {}

    def feed(self, event: Event) -> None:
        """Apply the next record of the log."""
        match event.kind:
            case "o":
                folder, name = self._place(event.path)
                node = folder.now.get(name)
                if node is None:
                    node = File()
                    folder.change(name, node)
                assert isinstance(node, File)
                self._inodes[event.inode] = node
            case "w":
                self._inodes[event.inode].pending.append((event.number, event.data))
            case "t":
                self._inodes[event.inode].pending.append((event.number, None))
            case "m":
                folder, name = self._place(event.path)
                self._folder(folder, name)
            case "u":
                folder, name = self._place(event.path)
                folder.change(name, None)
            case "r" | "l":
                self._move(event)
            case "b":
                self._begun[event.number] = [(node, node.made) for node in self._covered(event)]
            case "d" | "x":
                self._ended(event)

    def _move(self, event: Event) -> None:
        (source, old), (target, new) = self._place(event.path), self._place(event.second)
        node = source.now[old]
        target.change(new, node)
        if event.kind == "r":
            source.change(old, None)

    def _ended(self, event: Event) -> None:
        for node, made in self._begun.pop(event.number):
            if event.kind == "x":
                node.take_certain(made)
            elif self._heeds(event):
                node.settle(made)

    def _covered(self, event: Event) -> Iterator[Node]:
        if event.how == "s":
            yield from _all(self._top)
            return
        found = self._find(event.path)
        yield found if isinstance(found, Folder) else self._inodes[event.inode]

    def _parts(self, path: str) -> tuple[str, ...]:
        return PurePosixPath(path).relative_to(self._root).parts

    def _find(self, path: str) -> Node | None:
        node: Node | None = self._top
        if not PurePosixPath(path).is_relative_to(self._root):
            return None
        for part in self._parts(path):
            node = node.now.get(part) if isinstance(node, Folder) else None
        return node

    def _place(self, path: str) -> tuple[Folder, str]:
        # A process may use a folder before its maker has recorded it.
        *above, name = self._parts(path)
        folder = self._top
        for part in above:
            folder = self._folder(folder, part)
        return folder, name

    @staticmethod
    def _folder(above: Folder, name: str) -> Folder:
        """The folder of that name, made if missing."""
        found = above.now.get(name)
        if found is None:
            found = Folder()
            above.change(name, found)
        assert isinstance(found, Folder), name
        return found

    def materialise(self, target: Path, cut: "Cut", cache: Path) -> None:
        """Write the folder as a cut now may leave it; equal files are links into `cache`."""
        _write_folder(self._top, target, cut, cache)


@dataclass(slots=True)
class Cut:
    """Choice of a power cut: each uncertain change is kept with probability `keeps`.

    0 keeps nothing and 1 everything; in between, chance also decides the kept part.
    """

    chance: random.Random
    keeps: float

    def kept(self) -> bool:
        """True if a change is on disk."""
        return self.chance.random() < self.keeps

    def of_write(self, octets: bytes) -> bytes:
        """The kept part of a write: all, up to a border of sectors, or zeros of its length."""
        if self.kept():
            return octets
        lot = self.chance.random() if self.keeps else 1.0
        if lot < 0.3:
            return octets[: self.chance.randrange(len(octets) // _SECTOR + 1) * _SECTOR]
        return bytes(len(octets)) if lot < 0.5 else b""

    def of_file(self, file: File) -> bytes:
        """The octets of a file."""
        content = bytearray(file.content)
        for at, octets in file.pending:
            if octets is None:
                if self.kept():
                    _apply(content, (at, None))
                continue
            left = self.of_write(octets)
            if left.strip(b"\0"):
                _apply(content, (at, left))
            elif left and at + len(left) > len(content):  # only its length is on disk
                content.extend(bytes(at + len(left) - len(content)))
        return bytes(content)


def _write_folder(folder: Folder, target: Path, cut: Cut, cache: Path) -> None:
    target.mkdir(mode=0o700)
    names = dict(folder.names)
    for change in folder.pending:
        if cut.kept():
            _name(names, *change)
    for name, node in names.items():
        if name.endswith("-shm"):
            continue  # shared memory: SQLite rebuilds it from the log
        if isinstance(node, Folder):
            _write_folder(node, target / name, cut, cache)
        elif node.pending or not _is_blob(name):
            _write(target / name, cut.of_file(node))
        else:
            if node.copy is None:
                node.copy = cache / f"{id(node)}-{node.certain}"
                _write(node.copy, node.content)
            (target / name).hardlink_to(node.copy)


def _write(path: Path, octets: bytes | bytearray) -> None:
    path.write_bytes(octets)
    path.chmod(0o600)


def _is_blob(name: str) -> bool:
    return len(name) == 64


def _all(folder: Folder) -> Iterator[Node]:
    """All nodes with a name, now or on disk."""
    yield folder
    for node in {id(one): one for one in (*folder.now.values(), *folder.names.values())}.values():
        if isinstance(node, Folder):
            yield from _all(node)
        else:
            yield node


def _files(folder: Folder, above: str = "") -> Iterator[tuple[str, File]]:
    for name, node in folder.now.items():
        if isinstance(node, Folder):
            yield from _files(node, f"{above}{name}/")
        else:
            yield f"{above}{name}", node
