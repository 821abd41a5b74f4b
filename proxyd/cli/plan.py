"""`proxyd plan`: what a reload would do."""

import gc
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxyd.admin.control_client import Unreachable
from proxyd.cli.control import Control, config_option, json_option, print_json, unreachable
from proxyd.cli.examples import examples
from proxyd.cli.table import moment, printable
from proxyd.core.certificate_state import due_at
from proxyd.core.config_change import ConfigChange, change_lines
from proxyd.core.forecast import forecast
from proxyd.core.held_document import read_held
from proxyd.core.manual import Manual
from proxyd.core.slots import NoSlots
from proxyd.core.status import rfc3339
from proxyd.daemon.ca_limits import registered_domains
from proxyd.daemon.cache_view import CacheView
from proxyd.daemon.config_fingerprint import host_fingerprints, option_fingerprint
from proxyd.daemon.system_clock import SystemClock

_SHOWN = 20


@click.command(epilog=examples("proxyd plan", "proxyd plan -c new.yaml --json"))
@config_option
@json_option
def plan(file: Path | None, as_json: bool) -> None:
    """Say what a reload of the file would do: hosts added, removed, changed, and the certificates it would order."""
    gc.disable()  # ten thousand hosts are made and stay until the end, which is near
    control, clock = Control(file), SystemClock()
    config = control.config
    view = CacheView(config, clock=clock, slots=NoSlots())
    hosts, options = host_fingerprints(config), option_fingerprint(config)
    try:
        running, from_daemon = control.ask("running", {}), True
        view.read(read_held(running.get("held")))
    except Unreachable as error:
        if error.is_denied:
            unreachable(error)
        view.read()
        known = [one.plan.lineage for one in view.facts() if one.held is not None]
        names = [*(name.text for one in known for name in one.names), *(pattern.text for pattern in config.wildcards)]
        cached = {name: hosts[name] for name in names if name in hosts}
        running, from_daemon = {"hosts": cached, "options": options}, False
    both = running["options"], options
    change = ConfigChange.between(running["hosts"], hosts, options=both, started=running.get("started"))
    document = {
        "from": "daemon" if from_daemon else "cache",
        **change.to_document(),
        "refused": change.objection if from_daemon else None,
        **_orders(view, clock),
    }
    if as_json:
        print_json(document)
    else:
        _show(document, clock)
    if not from_daemon:
        print(f"no daemon answers: compared with the cache {config.cache_directory}", file=sys.stderr)


def _orders(view: CacheView, clock: SystemClock) -> dict[str, Any]:
    """Return what is due at once by the certificates and schedules in the cache, and what it costs."""
    now, domain = clock.now(), registered_domains()
    left = view.orders_left()
    states = [(one, one.state) for one in view.facts()]
    ordered = [(one, state) for one, state in states if not isinstance(state, Manual)]
    due = [one for one, state in ordered if (at := due_at(state, now)) is not None and at <= now]
    orders = [(one.plan.issuers[0], view.fleet.next_order(one.plan.lineage, now)) for one in due]
    closed = (view.fleet.ceiling_until(one.plan.lineage, now) for one in due)
    times = [*map(max, forecast(orders, view.fleet.authorities(), now), closed)]
    budget: dict[str, Any] = {}
    for issuer in dict.fromkeys(issuer for issuer, _ in orders):
        mine = [order for name, order in orders if name == issuer]
        domains = Counter(one for order in mine for one in {domain(name) for name in order.names})
        budget[issuer] = {"orders": len(mine), **left.get(issuer, {}), "domains": dict(domains.most_common(_SHOWN))}
    listed = [
        {"host": order.host.text, "key": order.key_kind, "issuer": issuer, "not_before": rfc3339(at)}
        for (issuer, order), at in zip(orders, times, strict=True)
    ]
    return {"orders": listed, "last": rfc3339(max(times)) if times else None, "budget": budget}


def _show(document: Mapping[str, Any], clock: SystemClock) -> None:
    for line in change_lines(document):
        print(printable(line))
    if not any(document[key] for key in ("added", "removed", "changed", "options", "restart")):
        print("nothing would change")
    if document["refused"]:
        print(printable(f"a reload is refused: {document['refused']}"))
    for one in document["orders"][:_SHOWN]:
        print(printable(f"certificate to order: {one['host']} ({one['key']}) from {one['issuer']}"))
    if len(document["orders"]) > _SHOWN:
        print(f"certificates to order: {len(document['orders']) - _SHOWN} more")
    for issuer, cost in document["budget"].items():
        room = f" of {cost['orders_left']} that it allows now" if "orders_left" in cost else ""
        print(printable(f"{issuer}: {cost['orders']} orders{room}"))
    if document["last"]:
        print(f"the last order may be sent at {moment(document['last'], clock.now())}")
