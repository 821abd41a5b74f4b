"""Where the lines of requests go and how they look, as the configuration says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from proxyd.config.model import AccessLog, LogOptions
from proxyd.core.client_network import network_of
from proxyd.daemon.access_line import AccessLine
from proxyd.daemon.log_file import LogFile
from proxyd.daemon.logs import Form, form, write_lines
from proxyd.proxy.access_log import AccessRecord, Show

#: Hears of a file that cannot be written: which, why, how many lines are lost; see LogFile.
Told = Callable[[Path, str | None, int], None]
_Form = Form | Literal["combined"]


class AccessOutput:
    """Writes to stderr or a file; `told` is called from another thread."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._file: LogFile | None = None

    def use(self, log: LogOptions) -> Show:
        """Write as `log` says from now on; return how a request is shown."""
        access = log.access or AccessLog()
        path = access.file if log.access is not None else None
        if self._file is not None and self._file.path != path:
            self._file.end()
            self._file = None
        if path is not None:
            self._file = self._file or LogFile(path, tell=lambda reason, lost: self._told(path, reason, lost))
            self._file.reopen()
        return shown(log)

    def write(self, text: str) -> None:
        """Write whole lines."""
        if self._file is not None:
            self._file.write(text)
        else:
            write_lines(text)

    def reopen(self) -> None:
        """Open the file anew."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Write what there is; may wait for seconds."""
        if self._file is not None:
            self._file.close()


def shown(log: LogOptions) -> Show:
    """Return how a request is shown."""
    access = log.access or AccessLog()
    show = _line(AccessLine(query=access.query), _form(log, access))
    if not access.query:
        show = _without_query(show)
    return show if access.client == "full" else _with_client(show, _masked if access.client == "masked" else _nobody)


def _form(log: LogOptions, access: AccessLog) -> _Form:
    if access.file is not None:
        return "json" if access.format == "auto" else access.format
    if access.format == "auto":
        return form(log.format)
    return form("console") if access.format == "console" else access.format


def _line(line: AccessLine, form: _Form) -> Show:
    match form:
        case "json":
            return line.json
        case "combined":
            return line.combined
        case "console":
            return line.plain
        case "journal":
            return line.journal


def _without_query(show: Show) -> Show:
    def shown(record: AccessRecord, at: int) -> str:
        path, mark, _ = record.request.target.partition(b"?")
        return show(record._replace(request=replace(record.request, target=path)) if mark else record, at)

    return shown


def _with_client(show: Show, known: Callable[[str], str]) -> Show:
    """Show less of who asks, by address or by name."""
    return lambda record, at: show(record._replace(client=known(record.client), user=""), at)


def _masked(client: str) -> str:
    return network_of(client, ipv6=48).partition("/")[0]


def _nobody(_client: str) -> str:
    return ""
