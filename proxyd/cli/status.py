"""`proxyd status`: how every host is."""

import sys
from pathlib import Path

import click

from proxyd.admin.control_client import Document, Unreachable
from proxyd.cli.config_file import refuse
from proxyd.cli.control import Control, config_option, hostnames, json_option, print_json, unreachable
from proxyd.cli.examples import examples
from proxyd.cli.status_screen import notes, show_status, trouble
from proxyd.cli.table import is_terminal, moment, printable, show_table
from proxyd.core.hostname import Hostname
from proxyd.core.status import budget_document, host_statuses, status_document
from proxyd.daemon.cache_view import CacheView
from proxyd.daemon.on_demand_views import asked_rows
from proxyd.daemon.system_clock import SystemClock
from proxyd.version import __version__

_HEAD = ("HOST", "STATE", "ISSUER", "EXPIRES", "RENEWS", "NEXT TRY", "LAST ERROR")


@click.command(epilog=examples("proxyd status", "proxyd status example.com", "proxyd status --json"))
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
    if is_terminal():
        show_status(document, now)
        return
    rows = [
        (
            host,
            row["state"],
            row["issuer"] or "-",
            moment(row["not_after"], now),
            moment(row["renew_at"], now),
            moment(row["next_try"], now),
            trouble(row) or "-",
        )
        for host, row in document["hosts"].items()
    ]
    rows += [
        (pattern, one["state"], one["issuer"], "-", "-", moment(one["next_try"], now), one["words"])
        for pattern, one in document.get("on_demand", {}).items()
    ]
    show_table(_HEAD, rows)
    for line in notes(document, now):
        print(printable(line))
