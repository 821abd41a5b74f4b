"""`proxyd explain`: the story of one host in plain words."""

import sys
from pathlib import Path

import click

from proxyd.admin.control_client import Document, Unreachable
from proxyd.cli.config_file import refuse
from proxyd.cli.control import Control, config_option, hostnames, json_option, print_json, unreachable
from proxyd.cli.examples import examples
from proxyd.cli.table import bold, coloured, printable, wrapped
from proxyd.core.hostname import Hostname
from proxyd.daemon.cache_view import CacheView
from proxyd.daemon.explain_command import merged, names_of, on_demand_story, story
from proxyd.daemon.on_demand_views import view_of
from proxyd.daemon.system_clock import SystemClock


@click.command(epilog=examples("proxyd explain example.com", "proxyd explain example.com --json"))
@config_option
@json_option
@click.argument("host")
def explain(file: Path | None, as_json: bool, host: str) -> None:
    """Tell the story of HOST: policy, certificate, orders, validation requests, what comes next, what to do.

    HOST may be a wildcard host, or any name under one.
    """
    (wanted,) = hostnames((host,), patterns=True)
    control = Control(file)
    note = None
    try:
        document = control.ask("explain", {"hosts": [wanted.text]})
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
    sys.exit(1 if document["status"]["needs_a_person"] or document.get("clock") or document.get("cache") else 0)


def _from_cache(control: Control, host: Hostname) -> tuple[Document, str]:
    config, clock = control.config, SystemClock()
    view = CacheView(config, clock=clock)
    view.read()
    facts = [one for one in view.facts() if host in one.plan.lineage.names]
    note = f"no daemon answers: this is what the cache {config.cache_directory} tells"
    if view.journal_damage:
        note += f"; {view.journal_damage}"
    if not facts:
        if not (wildcard := view_of(host, view.on_demand())):
            refuse(f"not in the configuration: {host}")
        now, doubt = clock.now(), view.doubt
        return on_demand_story(host, wildcard, view.history, now, refusal=None, runs=False, doubt=doubt), note
    events = merged([view.history(name) for name in names_of(host, facts)])
    return story(host, facts, events, clock.now(), config=lambda: config, runs=False, doubt=view.doubt), note


def _show(document: Document) -> None:
    print(f"{bold(document['host'])}: {coloured(document['status']['state'])}")
    for section in document["sections"]:
        print(f"\n{bold(section['title'])}")
        for line in section["lines"]:
            print(wrapped(printable(line), indent="  "))
