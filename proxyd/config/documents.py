"""A configuration file and those that it includes, as one document that remembers which file each host is in."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import has_magic
from pathlib import Path

from proxyd.config.document import Document, Location, Mistake
from proxyd.config.origin import Origin, Stamp, Unreadable, absolute, included, read, stamp_of


class Documents:
    """`data` is that of `main`, which is `file`, with the hosts of all; `mistakes` are those of all."""

    def __init__(self, main: Document, file: Path | str) -> None:
        self.data: object = main.data
        self.mistakes = list(main.mistakes)
        self._main = main
        self._file = file
        self._elsewhere: dict[str, tuple[str, Document]] = {}
        self._patterns: list[str] = []
        self._stamps: dict[str, Stamp] = {}

    def origin(self, stamp: Stamp | None) -> Origin:
        """Return where all of it came from; `stamp` is that of the main file, None: there is no file."""
        if stamp is None:
            return Origin()
        file = Path(self._file).absolute()
        return Origin(file=file, patterns=tuple(self._patterns), stamps={str(file): stamp, **self._stamps})

    def mistake(self, location: Location, message: str, *, at_key: bool = False) -> Mistake:
        """Return a mistake with its place, in the file that it is in."""
        file, document = self._home(location)
        found = document.mistake(location, message, at_key=at_key)
        return found if file is None else replace(found, file=file)

    def written(self, location: Location) -> str | None:
        """Return a scalar as it stands in its file."""
        return self._home(location)[1].written(location)

    def elsewhere(self, key: str, than: str) -> str:
        """Return the place of a host when it is in another file than another host, for a message; else nothing."""
        file, _ = self._home(("hosts", key))
        return "" if file == self._home(("hosts", than))[0] else f" ({self._place(key)})"

    def include(self) -> None:
        """Add the hosts of the files that `include` names. Blocks on the disk."""
        data = self.data if isinstance(self.data, dict) else {}
        main = Path(self._file).absolute()
        names = data.get("include")
        for index, written in enumerate(names if isinstance(names, list) else [names]):
            if isinstance(written, str) and written:
                place = ("include", index) if isinstance(names, list) else ("include",)
                self._include_all(main, written, place)

    def _include_all(self, main: Path, written: str, place: Location) -> None:
        pattern = absolute(written, main)
        self._patterns.append(pattern)
        found = [*included(pattern, main)]
        if not found and not has_magic(written):
            meant = main.parent / Path(written).expanduser()
            what = "is this file itself" if meant == main else "is a directory" if meant.is_dir() else ""
            message = f"{meant}: {what or 'there is no such file'}: name a file, or a pattern like conf.d/*.yaml"
            self.mistakes.append(self._main.mistake(place, message))
        for path in found:
            if path not in self._stamps:  # two patterns may mean the same file
                self._include_one(path, place)

    def _include_one(self, path: str, place: Location) -> None:
        try:
            status = Path(path).stat()
            self._stamps[path] = stamp_of(status)  # should it not be readable
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("is no file: include only configuration files")
            text, self._stamps[path] = read(Path(path))
        except (OSError, Unreadable) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.mistakes.append(self._main.mistake(place, f"{path}: {reason}"))
            return
        document = Document(text)
        self.mistakes += [replace(one, file=path) for one in (*document.mistakes, *self._merged(path, document))]

    def _merged(self, path: str, document: Document) -> Iterator[Mistake]:
        """Add the hosts of a file; yield what is wrong with it as one that is included."""
        if document.data is None:
            return  # with its mistakes, or empty
        if not isinstance(document.data, dict):
            yield document.mistake((), "an included file must be a mapping with hosts")
            return
        for key in document.data.keys() - {"hosts"}:
            message = f"an included file has hosts only: move this to {self._file}"
            yield document.mistake((key,), message, at_key=True)
        hosts = document.data.get("hosts")
        if hosts is not None and not isinstance(hosts, dict):
            yield document.mistake(("hosts",), "must be a mapping: each host with its upstream", at_key=True)
            return
        all_hosts = self._hosts()
        for key, value in (hosts or {}).items():
            if key in all_hosts:
                message = f"{key} is listed twice: also in {self._place(key)}; remove one"
                yield document.mistake(("hosts", key), message, at_key=True)
            else:
                all_hosts[key] = value
                self._elsewhere[key] = path, document

    def _hosts(self) -> dict[str, object]:
        """Return the hosts of all, to be added to; those of a main file that are no mapping are its own mistake."""
        data = self.data if isinstance(self.data, dict) else {}
        if data.get("hosts") is None:
            data["hosts"] = {}
        hosts = data["hosts"]
        return hosts if isinstance(hosts, dict) else {}

    def _place(self, key: str) -> str:
        file, document = self._home(("hosts", key))
        at = document.mistake(("hosts", key), "", at_key=True)
        return f"{file or self._file}:{at.line}:{at.column}"

    def _home(self, location: Sequence[str | int]) -> tuple[str | None, Document]:
        """Return which file a place is in, None: the main one, and its document."""
        if len(location) > 1 and location[0] == "hosts" and isinstance(location[1], str):
            return self._elsewhere.get(location[1], (None, self._main))
        return None, self._main
