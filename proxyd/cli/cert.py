"""`proxyd cert`: a pair for tests, and what is in a certificate, wherever it is."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from proxyd.certs.certificate import InvalidCertificate
from proxyd.certs.inspection import Inspection, kind_of, pin_of
from proxyd.certs.key import PrivateKey
from proxyd.certs.pem_file import PemFile
from proxyd.certs.self_signed import self_signed as made_pair
from proxyd.certs.system_roots import SystemRoots
from proxyd.cli.config_file import refuse
from proxyd.cli.control import json_option, print_json
from proxyd.cli.examples import examples
from proxyd.cli.live_certificate import LiveCertificate, NothingShown, look
from proxyd.cli.table import bold, columns, is_terminal, printable, wrapped
from proxyd.core.host_pattern import host_or_pattern
from proxyd.core.hostname import Hostname, InvalidHostname
from proxyd.daemon.system_clock import SystemClock

_LIFETIME = timedelta(hours=24)
_HTTPS = 443
_INDENT = "  "
Document = dict[str, Any]


@click.group(epilog=examples("proxyd cert show example.com", "proxyd cert self-signed --host localhost"))
def cert() -> None:
    """Look at certificates, and make one for tests."""


@cert.command(
    "self-signed",
    epilog=examples(
        "proxyd cert self-signed --host localhost --host 127.0.0.1",
        "proxyd cert self-signed --host app.test --out tls --force",
    ),
)
@click.option("--host", "hosts", multiple=True, required=True, help="Name or IP address; again for more.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Directory.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.argument("more", metavar="[HOST]...", nargs=-1)
def self_signed(hosts: tuple[str, ...], out: Path, force: bool, more: tuple[str, ...]) -> None:
    """Make a certificate for tests that is valid for 24 hours, and its key. Prints the lines for the configuration."""
    names = list(dict.fromkeys(_host(one) for one in (*hosts, *more)))
    stem = names[0].text.replace("*", "_wildcard").replace(":", "-").lstrip("-") or "host"
    certificate_file, key_file = (out.absolute() / f"{stem}.{suffix}" for suffix in ("crt", "key"))
    if not force and (there := [one for one in (certificate_file, key_file) if os.path.lexists(one)]):
        refuse(f"{there[0]} exists: name another directory with --out, or replace it with --force")
    now = SystemClock().now()
    certificate, key = made_pair(names, now=now, lifetime=_LIFETIME)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(key_file, key, 0o600)
        _write(certificate_file, certificate, 0o644)
    except OSError as error:
        refuse(f"{error.filename or out}: cannot be written ({error.strerror}): name another directory with --out")
    ends = now + _LIFETIME
    print(printable(f"# {certificate_file}: for {', '.join(map(str, names))}; valid until {ends:%Y-%m-%d %H:%M} UTC"))
    print(printable(f"# {key_file}: its key"))
    print("\n".join(_lines(names, certificate_file, key_file)))


@cert.command(
    epilog=examples(
        "proxyd cert show example.com",
        "proxyd cert show 192.0.2.7:8443 --name example.com",
        "proxyd cert show fullchain.pem --key privkey.pem",
        "proxyd cert show cert.der --json",
    ),
)
@click.argument("what", metavar="FILE|HOST[:PORT]")
@click.option("--name", help="Ask the server for this name; of a file: look whether it is for it.")
@click.option("--key", "key_file", type=click.Path(path_type=Path), help="Look whether this key belongs to it.")
@json_option
def show(what: str, name: str | None, key_file: Path | None, as_json: bool) -> None:
    """Say what is in a certificate, in a file or shown by a server, and what is wrong with it.

    Exit status 0: fine, 1: something is wrong, 2: there is no certificate to look at.
    """
    asked = _host(name) if name is not None else None
    key = _key(key_file) if key_file is not None else None
    is_file = Path(what).exists() or ("/" in what and not what.startswith("https://"))
    document = _of_file(Path(what), asked, key) if is_file else _of_server(what, asked, key)
    if as_json:
        print_json(document)
    else:
        _print(document)
    sys.exit(0 if document["ok"] else 1)


def _of_file(file: Path, asked: Hostname | None, key: PrivateKey | None) -> Document:
    try:
        content = PemFile.read(file)
        if not content.certificates:
            return _without_certificate(file, content, key)
        own = key or content.key
        return _inspected(str(file), content.certificates, asked, own, trouble=content.key_trouble)
    except InvalidCertificate as error:
        refuse(f"{file}: {error}")


def _without_certificate(file: Path, content: PemFile, key: PrivateKey | None) -> Document:
    """Return what is in a file that has a key or a request."""
    document: Document = {"source": str(file), "ok": True, "wrong": [], "remarks": [], "facts": {}}
    if content.is_request:
        document["facts"]["request"] = "a certificate signing request: a CA makes a certificate of it"
    if content.key is not None:
        document["facts"] |= {
            "key": f"a private key: {kind_of(content.key.public_key())}",
            "pin": f"{pin_of(content.key)} (of the key, as upstream_tls.pin takes it)",
        }
        if key is not None and pin_of(key) != pin_of(content.key):
            document["wrong"].append("it is another key than that of --key")
    if content.key_trouble:
        document["wrong"].append(f"{content.key_trouble}: proxyd asks nobody for a password, and takes EC and RSA keys")
    document["ok"] = not document["wrong"]
    return document


def _of_server(what: str, asked: Hostname | None, key: PrivateKey | None) -> Document:
    host, port = _place(what)
    name = asked or _host(host)
    try:
        live = look(host, port, name)
        document = _inspected(live.place, live.certificates, name, key)
    except NothingShown as error:
        refuse(str(error))
    except InvalidCertificate as error:
        refuse(f"{what}: {error}")
    document |= {"address": live.address, "tls": live.version, "asked": name.text, "trusted": live.distrust is None}
    document["facts"] = {
        "server": f"{live.address}, asked for {name}, {live.version}",
        **document["facts"],
        "trust": _trust(live),
    }
    if live.distrust is not None and not document["wrong"] and not document["remarks"]:
        remark = "no CA that this machine trusts vouches for it: right for a private CA, whose root clients need"
        document["remarks"] = [remark]
    return document


def _trust(live: LiveCertificate) -> str:
    if live.distrust is None:
        return "this machine accepts it"
    return f"this machine does not accept it: {live.distrust}"


def _inspected(
    source: str,
    certificates: tuple[Any, ...],
    asked: Hostname | None,
    key: PrivateKey | None,
    *,
    trouble: str | None = None,
) -> Document:
    found = Inspection.of(certificates, key=key, asked=asked, roots=SystemRoots(), now=SystemClock().now())
    wrong = [*found.wrong, *([f"{trouble}: proxyd asks nobody for a password"] if trouble and key is None else [])]
    return {
        "source": source,
        "ok": not wrong,
        "wrong": wrong,
        "remarks": list(found.remarks),
        "certificate": found.document,
        "facts": dict(found.facts),
    }


def _print(document: Document) -> None:
    print(bold(document["source"]))
    width = max((len(title) for title in document["facts"]), default=0)
    for title, text in document["facts"].items():
        line = f"{title.ljust(width)}{_INDENT}{printable(text)}"
        print(wrapped(line, indent=_INDENT) if is_terminal() and len(line) > columns() else f"{_INDENT}{line}")
    for word, lines in (("Wrong", document["wrong"]), ("Look at", document["remarks"])):
        for line in lines:
            print(wrapped(f"{word}: {printable(line)}", indent=""))
    if document["ok"]:
        print("Nothing is wrong with it.")


def _place(what: str) -> tuple[str, int]:
    """Return host and port; raises SystemExit when it is neither, nor a file."""
    bare = what.removeprefix("https://").rstrip("/")
    host, colon, port = bare.rpartition(":")
    if bare.startswith("[") and bare.endswith("]"):
        return bare[1:-1], _HTTPS
    if not colon or (bare.count(":") > 1 and not bare.startswith("[")):
        return bare, _HTTPS
    if not port.isdecimal() or not 0 < int(port) < 65536:
        refuse(f"{what}: there is no such file, and it is no HOST:PORT: the port is a number up to 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _host(written: str) -> Hostname:
    try:
        return host_or_pattern(written)
    except InvalidHostname as error:
        refuse(f"{error}; a file is named by its path")


def _key(file: Path) -> PrivateKey:
    try:
        found = PemFile.read(file)
    except InvalidCertificate as error:
        refuse(f"{file}: {error}")
    if found.key is None:
        trouble = found.key_trouble or "has no private key"
        hint = ": write it without its password (`openssl pkey -in KEY -out NEW`)" if "encrypted" in trouble else ""
        refuse(f"{file}: {trouble}{hint}")
    return found.key


def _write(file: Path, content: bytes, mode: int) -> None:
    """Put a file in its place when it is whole: nobody else ever reads a key."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as opened:
            opened.write(content)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _lines(names: list[Hostname], certificate: Path, key: Path) -> list[str]:
    """Return what to paste: names under a wildcard are listed there one by one."""

    def quoted(text: str) -> str:
        return f'"{text}"' if any(char in text for char in "*: {}[],&#!|>'%@`\\") else text

    listed = [quoted(one.text) for one in names if "*" not in one.text] or ["app.example.test"]
    aliases = [f"    aliases: [{', '.join(listed[1:])}]"] if listed[1:] else []
    return [
        "hosts:",
        f"  {listed[0]}:",
        "    upstream: http://127.0.0.1:8080",
        *aliases,
        f"    tls: {{cert: {quoted(str(certificate))}, key: {quoted(str(key))}}}",
    ]
