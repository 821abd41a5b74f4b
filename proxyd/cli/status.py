"""`proxyd status`: how every host is."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxyd.admin.control_client import Document, Unreachable
from proxyd.cli.config_file import refuse
from proxyd.cli.control import Control, config_option, hostnames, json_option, print_json, unreachable
from proxyd.cli.table import moment, printable, show_table
from proxyd.core.hostname import Hostname
from proxyd.core.status import budget_document, host_statuses, status_document
from proxyd.daemon.cache_view import CacheView
from proxyd.daemon.on_demand_views import asked_rows
from proxyd.daemon.system_clock import SystemClock
from proxyd.version import __version__

_HEAD = ("HOST", "STATE", "ISSUER", "EXPIRES", "RENEWS", "NEXT TRY", "LAST ERROR")


@click.command()
@config_option
@json_option
@click.argument("hosts", nargs=-1)
def status(file: Path | None, as_json: bool, hosts: tuple[str, ...]) -> None:
    """Show state, issuer, expiry and trouble of HOSTS, or of all. Exit status 0: all good, 1: something needs you."""
    wanted = hostnames(hosts, patterns=True)
    control = Control(file)
    note = None
    try:
        document = control.ask("status", {"hosts": [host.text for host in wanted]})
    except Unreachable as error:
        if error.is_denied:
            unreachable(error)
        document, note = _from_cache(control, wanted)
    if as_json:
        print_json(document)
    else:
        _show(document)
    if note:
        print(note, file=sys.stderr)
    sys.exit(0 if document["ok"] else 1)


def _from_cache(control: Control, wanted: list[Hostname]) -> tuple[Document, str]:
    config, clock = control.config, SystemClock()
    view = CacheView(config, clock=clock)
    view.read()
    rows, wildcards = asked_rows(host_statuses(view.facts(), clock.now()), view.on_demand(), wanted, lambda _: None)
    known = {*rows, *(Hostname(one.text) for one in wildcards)}
    if unknown := [host.text for host in wanted if host not in known]:
        refuse(f"not in the configuration: {', '.join(unknown)}")
    on_demand = {one.text: found.to_document() for one, found in wildcards.items()}
    budget = budget_document(view.facts(), view.orders_left())
    note = f"no daemon answers: this is what the cache {config.cache_directory} tells"
    if view.journal_damage:
        note += f"; {view.journal_damage}"
    document = status_document(
        rows, budget, version=__version__, from_daemon=False, doubt=view.doubt, on_demand=on_demand
    )
    return document, note


def _show(document: Document) -> None:
    now = SystemClock().now()
    rows = [
        (
            host,
            row["state"],
            row["issuer"] or "-",
            moment(row["not_after"], now),
            moment(row["renew_at"], now),
            moment(row["next_try"], now),
            _trouble(row),
        )
        for host, row in document["hosts"].items()
    ]
    rows += [
        (pattern, one["state"], one["issuer"], "-", "-", moment(one["next_try"], now), one["words"])
        for pattern, one in document.get("on_demand", {}).items()
    ]
    show_table(_HEAD, rows)
    for key in ("clock", "cache", "reload"):
        if document.get(key):  # a daemon of an older version tells none
            print(printable(document[key]))
    for issuer, room in document["budget"].items():
        if room["waiting"]:
            first, last = min(room["waiting"].values()), max(room["waiting"].values())
            count = len(room["waiting"])
            text = f"{issuer}: {count} wait for a limit; the next order may be sent {moment(first, now)}"
            print(printable(text + (f", the last {moment(last, now)}" if count > 1 else "")))


def _trouble(row: Mapping[str, Any]) -> str:
    told = [*row.get("alarms", ()), *([row["last_error"]] if row["last_error"] else [])]
    return "; ".join(told) or (f"see {row['explanation_url']}" if row["explanation_url"] else "-")
