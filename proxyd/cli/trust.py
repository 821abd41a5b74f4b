"""`proxyd trust`: the root of the internal CA, printed or installed."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from proxyd.admin.control_client import Unreachable
from proxyd.cli.config_file import refuse
from proxyd.cli.control import Control, config_option, json_option, print_json, unreachable
from proxyd.cli.examples import examples
from proxyd.cli.table import printable
from proxyd.cli.trust_store import TrustStore, TrustStoreError
from proxyd.daemon.system_clock import SystemClock
from proxyd.daemon.trust_command import roots_document
from proxyd.store.directory import DirectoryStore
from proxyd.store.internal_roots import InternalRoots

Document = Mapping[str, Any]
_BY_HAND = """\
To have it trusted (docs/internal-ca.md has more):
  this machine      proxyd trust --install
  Debian, Ubuntu    copy it to /usr/local/share/ca-certificates/proxyd.crt, run update-ca-certificates
  Fedora, Arch      trust anchor --store proxyd.crt
  Chromium (Linux)  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n proxyd -i proxyd.crt
  Firefox           Settings, Certificates, View Certificates, Authorities, Import
  macOS, Windows    Keychain Access, System, Always Trust; certutil -addstore root proxyd.crt
  one command       proxyd trust > proxyd.crt; curl --cacert proxyd.crt https://…"""


@click.command(
    epilog=examples(
        "proxyd trust > root.crt", "proxyd trust --install", "proxyd trust --uninstall", "proxyd trust --json"
    )
)
@config_option
@json_option
@click.option("--install", is_flag=True, help="Have this system trust it. Needs root; harmless twice.")
@click.option("--uninstall", is_flag=True, help="Have this system trust no root of an internal CA of proxyd.")
def trust(file: Path | None, as_json: bool, install: bool, uninstall: bool) -> None:
    """Print the root of the internal CA as PEM, or have this system trust it.

    What it is and how it is installed elsewhere is said beside it. Exit status 1: there is no root yet, or it could
    not be installed.
    """
    if install and uninstall:
        refuse("give either --install or --uninstall")
    if uninstall:
        _end(_changed(None, as_json), as_json)
    document = _asked(Control(file))
    for error in document["errors"]:
        _say(error)
    if not document["roots"]:
        _none(document, as_json)
    if install:
        _end({**document, **_changed(document["roots"], as_json)}, as_json)
    if as_json:
        print_json(document)
    else:
        _show(document)
    sys.exit(1 if document["errors"] else 0)


def _asked(control: Control) -> Document:
    try:
        return control.ask("trust", {})
    except Unreachable as error:
        if error.is_denied:
            unreachable(error)
        config = control.config
        store = DirectoryStore(config.cache_directory, clock=SystemClock(), only_looks=True)
        return roots_document(config, InternalRoots(store))


def _none(document: Document, as_json: bool) -> NoReturn:
    if as_json:
        print_json(document)
    if document["waiting"]:
        waiting = ", ".join(document["waiting"])
        _say(f"there is no root yet: it is made with the first certificate ({waiting}), when the daemon runs")
    elif not document["errors"]:
        _say(
            "there is no root, and no host needs one: the internal CA certifies names like localhost, app.test or "
            "nas.internal, and hosts with `tls: {issuer: internal}`"
        )
    sys.exit(1)


def _show(document: Document) -> None:
    for root in document["roots"]:
        print(root["pem"], end="", flush=True)
        what = "local names and private addresses only" if root["limited"] else "ANY name: keep its key safe"
        more = f" and {root['more_hosts']} more" if root["more_hosts"] else ""
        hosts = f"{', '.join(root['hosts']) or 'no host now'}{more}"
        _say(f"{root['name']}, valid until {root['not_after'][:10]}")
        _say(f"  SHA-256   {root['fingerprint']}")
        _say(f"  certifies {what}")
        _say(f"  used by   {hosts}")
        _say(f"  key in    {root['file']}")
    if document["waiting"]:
        _say(f"not made yet: the root for {', '.join(document['waiting'])}")
    print(_BY_HAND, file=sys.stderr)


def _changed(roots: list[Document] | None, as_json: bool) -> Document:
    """Install these, or with None uninstall all; return what was done."""
    key = "uninstalled" if roots is None else "installed"
    try:
        store = TrustStore.of_system()
        pems = [(one["fingerprint"], one["pem"]) for one in roots or ()]
        files = store.uninstall() if roots is None else store.install(pems)
    except TrustStoreError as error:
        if not as_json:
            _say(str(error))
        return {key: [], "error": str(error)}
    if not as_json:
        for one in files:
            print(printable(f"{key}: {one}"))
        if files:
            print("Firefox, Java and containers have trust stores of their own: `proxyd trust` says how")
        else:
            print(f"nothing to do: {'no root of proxyd is' if roots is None else 'it is'} installed")
    return {key: [str(one) for one in files], "error": None}


def _end(document: Document, as_json: bool) -> NoReturn:
    if as_json:
        print_json(document)
    sys.exit(1 if document["error"] else 0)


def _say(line: str) -> None:
    """Say it beside the output: a script reads that."""
    print(printable(line), file=sys.stderr, flush=True)
