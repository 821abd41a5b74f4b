"""From a file to a `Config`: everything that is wrong is said at once, each with line and column."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from proxyd.config.acme import AcmeOptions
from proxyd.config.acme_check import AcmeFinding, acme_findings, bundle_findings
from proxyd.config.client_check import ClientCheck
from proxyd.config.client_options import client_mistakes, client_mistakes_of_all
from proxyd.config.document import ConfigError, Document, Location, Mistake
from proxyd.config.documents import Documents
from proxyd.config.guard_check import GuardCheck
from proxyd.config.host import HostOptions
from proxyd.config.issuer_check import NOT_YET, name_findings, root_findings, wildcard_findings
from proxyd.config.listen_check import listen_clashes
from proxyd.config.log_check import log_findings
from proxyd.config.model import Config
from proxyd.config.option import Options, meant, nested, overlay, today
from proxyd.config.origin import Stamp, Unreadable, read
from proxyd.config.own_pair_check import Judge, own_pair_findings
from proxyd.config.program_check import ProgramCheck
from proxyd.config.routing import loops, serves_all
from proxyd.config.show import hides, without_password
from proxyd.config.upstream_check import UpstreamCheck, no_off_switch
from proxyd.config.values import HiddenValueError, UpstreamAddress, Upstreams
from proxyd.core.host_pattern import HostPattern
from proxyd.core.hostname import Hostname, InvalidHostname

M = TypeVar("M", bound=Options)
_SMALLEST = "hosts:\n  example.com: http://127.0.0.1:8080"
#: Pydantic has the words of Python here.
_IN_YAML = {"tuple_type": "a list", "list_type": "a list", "string_type": "text", "path_type": "a path"}
_UPSTREAMS = TypeAdapter[tuple[UpstreamAddress, ...]](Upstreams)


def load(file: Path, *, reads_bundles: bool = True, serves: bool = False, judge: Judge | None = None) -> Config:
    """Return the configuration in `file` and what it includes.

    Raises ConfigError with every mistake, each with its place and next step.

    `reads_bundles`: whether `acme.ca_bundle`, the files of `upstream_tls` and `tls`, and secrets must be readable;
    commands that ask nobody may lack the right.
    `serves`: one that a host has for itself is a warning, because all others are to be served. Only who serves has
    the credentials that systemd passes. `judge` looks at certificates of the operator's own.
    """
    try:
        text, stamp = read(file)
    except FileNotFoundError:
        raise _refused(file, f"there is no such file: make one with your hosts, like\n\n{_SMALLEST}\n") from None
    except Unreadable as error:
        raise _refused(file, str(error)) from None
    return parse(text, file, reads_bundles=reads_bundles, serves=serves, stamp=stamp, judge=judge)


def parse(
    text: str,
    file: Path | str,
    *,
    reads_bundles: bool = False,
    serves: bool = False,
    stamp: Stamp | None = None,
    judge: Judge | None = None,
) -> Config:
    """Return the configuration in `text`; `file` names it in messages, and included files lie beside it.

    `stamp`: how the file was when it was read. Raises ConfigError.
    """
    document = Documents(Document(text), file)
    document.include()
    origin = document.origin(stamp)
    if document.mistakes and document.data is None:
        raise ConfigError(file, document.mistakes, origin=origin)
    if document.data is None or document.data == {}:
        mistake = document.mistake((), f"the file is empty: it needs at least\n\n{_SMALLEST}\n")
        raise ConfigError(file, [mistake], origin=origin)
    if not isinstance(document.data, dict):
        mistake = document.mistake((), f"the file must be a mapping, like\n\n{_SMALLEST}\n")
        raise ConfigError(file, [mistake], origin=origin)
    reading = _Reading(document, file, reads_bundles=reads_bundles, serves=serves, judge=judge)
    found = reading.config(document.data)
    if found is None:
        raise ConfigError(file, reading.told(), origin=origin)
    return found.with_origin(origin)


def from_pairs(pairs: Sequence[tuple[str, str]]) -> Config:
    """Return the configuration for `HOST=UPSTREAM` words of the command line. Raises ConfigError."""
    hosts = dict(pairs)
    if len(hosts) < len(pairs):
        raise _refused("command line", "a host is given twice: give each once")
    return parse(yaml.safe_dump({"hosts": hosts}, allow_unicode=True, sort_keys=False), "command line")


def _refused(file: Path | str, message: str) -> ConfigError:
    return ConfigError(file, [Mistake(line=1, column=1, location="", message=message)])


class _Reading:
    """One pass over one document; collects mistakes."""

    def __init__(
        self,
        document: Documents,
        file: Path | str,
        *,
        reads_bundles: bool,
        serves: bool,
        judge: Judge | None = None,
    ) -> None:
        self._judge = judge
        self._document = document
        self._file = file
        self._reads_bundles = reads_bundles
        self._serves = serves
        self._context = {"reads_secrets": reads_bundles, "serves": serves}
        self._mistakes = list(document.mistakes)

    def config(self, data: dict[str, Any]) -> Config | None:
        """Return the configuration; None: there are mistakes."""
        hosts = data.get("hosts")
        if not isinstance(hosts, dict) or not hosts:
            wants = "must be a mapping: each" if hosts and not isinstance(hosts, dict) else "needs at least one"
            self._wrong(("hosts",), f"{wants} host with its upstream, like\n\n{_SMALLEST}\n", at_key=True)
            hosts = {}
        top = self._validate(Config, {**data, "hosts": {}}, ())
        defaults = top.defaults if top else HostOptions()
        for place, message in listen_clashes(top.listen) if top else ():
            self._wrong(("listen", *place), message)
        warnings: list[Mistake] = []
        acme: dict[Location, AcmeOptions] = {}
        options: dict[Hostname | HostPattern, HostOptions] = {}
        written: dict[str, HostOptions] = {}
        names: dict[str, Hostname | HostPattern] = {}
        for key, name, own in self._hosts(hosts, defaults):
            options[name] = written[key] = own
            names[key] = name
            self._check_options(("hosts", key), own, defaults)
            is_own = own.acme is not None and own.acme is not defaults.acme
            place = ("hosts", key, "acme") if is_own else ("acme",) if own.acme is None else ("defaults", "acme")
            if place not in acme:  # ten thousand hosts share one
                acme[place] = own.acme or AcmeOptions()
            if top is None:
                continue
            warnings += self._check_issuer(top, ("hosts", key), name, own)
            if isinstance(name, Hostname):
                self._check_listed(("hosts", key), own)
        for place, message in client_mistakes_of_all(defaults, written.values()):
            self._wrong(place, message)
        if top is not None and top.default_host is not None:
            self._check_default(top.default_host, options)
        warnings += [*self._check_acme(top, acme), *self._check_trust(top)] if top else []
        warnings += self._check_tls(written, defaults)
        if self._judge is not None:
            for location, message, is_fatal in own_pair_findings(written, names, defaults, self._judge):
                warnings += self._told([(location, message)], is_mistake=is_fatal)
        if top is not None and self._reads_bundles and not self._serves:  # the daemon finds out when it opens the file
            warnings += self._told(log_findings(top.log), is_mistake=False)
        warnings += self._check_programs(top, written) if top and self._reads_bundles else []
        warnings += self._check_guards(written, defaults)
        if self._mistakes or top is None:
            return None
        return top.model_copy(update={"hosts": options}).with_warnings(one.show(self._file) for one in warnings)

    def _hosts(
        self, written: dict[str, Any], defaults: HostOptions
    ) -> Iterator[tuple[str, Hostname | HostPattern, HostOptions]]:
        seen: dict[Hostname | HostPattern, str] = {}
        for key, value in written.items():
            place = ("hosts", key)
            try:
                name = HostPattern.parse(key) if "*" in key else Hostname.parse(key)
            except InvalidHostname as error:
                self._wrong(place, str(error), at_key=True)
                continue
            options = self._host(value, defaults, place)
            for one in (name, *(options.aliases if options else ())):
                if one in seen:
                    other = f"{seen[one]}{self._document.elsewhere(seen[one], key)}"
                    self._wrong(place, f"{one} is listed twice: also under {other}; remove one", at_key=True)
                seen.setdefault(one, key)
            if options and isinstance(name, Hostname):
                for message in loops((name, *options.aliases), options.redirect, options.paths):
                    self._wrong((*place, "redirect"), message)
            if options:
                yield key, name, options

    def _host(self, value: object, defaults: HostOptions, place: Location) -> HostOptions | None:
        if value is None and not defaults.upstream:
            self._wrong(place, f"needs an upstream: write {place[-1]}: http://127.0.0.1:8080", at_key=True)
            return None
        shorthand = value is not None and not isinstance(value, dict)
        options = _only_upstream(value, defaults) if shorthand else None
        if options is None:
            data: dict[str, Any] = value if isinstance(value, dict) else {"upstream": value} if shorthand else {}
            own = self._validate(HostOptions, data, place, shorthand=shorthand)
            if own is None:
                return None
            options = overlay(defaults, own)
        if not options.upstream and not serves_all(options.redirect, options.paths):
            self._wrong(place, "has no upstream: add `upstream: http://127.0.0.1:8080`", at_key=True)
        for index, one in enumerate(options.upstream):
            if one in options.upstream[:index]:
                where = place if shorthand else (*place, "upstream")
                self._wrong((*where, index), f"{one} is listed twice: remove one")
        return options

    def _check_issuer(
        self, config: Config, place: Location, name: Hostname | HostPattern, options: HostOptions
    ) -> Iterator[Mistake]:
        """Say which names can get no certificate; yield what is to be said of the others."""
        acme = config.acme if options.acme is None else overlay(config.acme, options.acme)
        names = options.aliases if isinstance(name, HostPattern) else (name, *options.aliases)
        found = [*name_findings(names, options, acme)]
        if isinstance(name, HostPattern):
            found += wildcard_findings(name, options, acme)
        for where, message in found:
            self._wrong((*place, *where), message, at_key=not where)
        for message in root_findings((name, *options.aliases), options, acme):
            yield self._document.mistake(place, f"warning: {message}", at_key=True)

    def _check_options(self, place: Location, options: HostOptions, defaults: HostOptions) -> None:
        for where, message in client_mistakes(options, defaults):
            self._wrong((*place, *where), message)
        for message in options.hsts.mistakes() if options.hsts is not None else ():
            self._wrong((*place, "hsts"), message)

    def _check_trust(self, config: Config) -> Iterator[Mistake]:
        for index, network in enumerate(config.trusted_proxies):
            if network.prefixlen == 0:
                message = f"warning: {network} is everybody, and each may say who it is: name your proxies' networks"
                yield self._document.mistake(("trusted_proxies", index), message)

    def _check_default(self, default: Hostname, options: Mapping[Hostname | HostPattern, HostOptions]) -> None:
        names = {one for host, own in options.items() for one in (host, *own.aliases)}
        if default not in names:
            near = difflib.get_close_matches(default.text, [str(one) for one in names], n=1)
            meant = f"did you mean {near[0]}?" if near else "list it there, or name one that is"
            self._wrong(("default_host",), f"{default} is not under hosts: {meant}")

    def _check_listed(self, place: Location, options: HostOptions) -> None:
        if options.acme is not None and options.acme.on_demand is not None:
            where = (*place, "acme", "on_demand")
            self._wrong(where, "is for wildcard hosts: this one is listed and has its certificate at once; remove it")

    def _check_acme(self, config: Config, written: Mapping[Location, AcmeOptions]) -> list[Mistake]:
        """Say once what comes from the top, and for each host what its own `acme` brings; return the warnings."""
        common: set[AcmeFinding] = set()
        warnings: list[Mistake] = []
        for place, own in sorted(written.items(), key=lambda one: len(one[0])):
            is_top = place == ("acme",)
            chosen = config.acme if is_top else overlay(config.acme, own)
            found = [*acme_findings(chosen, config.acme if is_top else own, config.listen)]
            bundles = [*bundle_findings(chosen)] if self._reads_bundles else []
            for one in [*found, *bundles]:
                is_its_own = one.location[0] in own.model_fields_set
                if one in common and not is_its_own:
                    continue
                if is_top:
                    common.add(one)
                location = (*place, *one.location)
                is_borne = self._serves and place[0] == "hosts" and is_its_own and one in bundles
                if one.is_mistake and not is_borne:
                    self._wrong(location, one.message)
                else:
                    warnings.append(self._document.mistake(location, f"warning: {one.message}"))
        return warnings

    def _check_tls(self, hosts: Mapping[str, HostOptions], defaults: HostOptions) -> list[Mistake]:
        check, clients, warnings = UpstreamCheck(defaults), ClientCheck(defaults), list[Mistake]()
        self._told(clients.mistakes(hosts), is_mistake=True)
        for key, options in hosts.items():
            place = ("hosts", key)
            broken = [*check.files(place, options), *clients.files(place, options)] if self._reads_bundles else []
            unused = [*check.unused(place, options), *clients.unused(place, options)]
            warnings += self._told(unused, is_mistake=False)
            warnings += self._told(broken, is_mistake=not self._serves)
        return warnings

    def _check_guards(self, hosts: Mapping[str, HostOptions], defaults: HostOptions) -> list[Mistake]:
        check, warnings = GuardCheck(defaults, reads_files=self._reads_bundles, serves=self._serves), list[Mistake]()
        for location, message, is_mistake in check.findings(hosts):
            warnings += self._told([(location, message)], is_mistake=is_mistake)
        return warnings

    def _check_programs(self, config: Config, hosts: Mapping[str, HostOptions]) -> list[Mistake]:
        """Say which programs are not there; to who serves that is no reason not to."""
        check = ProgramCheck(config.defaults, cache=config.cache_directory)
        found = [*check.alerts(config.alerts)]
        for key, options in hosts.items():
            found += check.hooks(("hosts", key), options)
        return self._told(found, is_mistake=not self._serves)

    def _told(self, found: Iterable[tuple[Location, str]], *, is_mistake: bool) -> list[Mistake]:
        """Collect what refuses the file; return what is only to be said."""
        if not is_mistake:
            return [self._document.mistake(location, f"warning: {message}") for location, message in found]
        for location, message in found:
            self._wrong(location, message)
        return []

    def _validate(self, model: type[M], data: dict[str, Any], place: Location, *, shorthand: bool = False) -> M | None:
        before = len(self._mistakes)
        if not shorthand:
            self._not_yet(model, data, place)
        try:
            found = model.model_validate(data, context=self._context)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                location = _written_place(detail["loc"], data)
                if shorthand:  # the user wrote neither `upstream` nor a list
                    location = location[1:] if isinstance(data.get("upstream"), list) else ()
                self._explain((*place, *location), detail, model)
            return None
        return found if len(self._mistakes) == before else None

    def _explain(self, location: Location, detail: ErrorDetails, model: type[Options]) -> None:
        kind, written = detail["type"], self._document.written(location)
        is_hidden = hides(location) or isinstance(detail.get("ctx", {}).get("error"), HiddenValueError)
        shown = f" (written: {written})" if written is not None and not is_hidden else ""
        if kind == "extra_forbidden":
            message = no_off_switch(location) or _unknown(str(location[-1]), _siblings(model, detail["loc"]))
            self._wrong(location, message, at_key=True)
        elif kind == "missing":
            self._wrong(location, "is required")
        elif kind == "value_error":
            self._wrong(location, f"{detail['msg'].removeprefix('Value error, ')}{shown}")
        elif kind in ("model_type", "dict_type", "model_attributes_type"):
            self._wrong(location, f"must be a mapping of keys to values{shown}")
        elif kind in _IN_YAML:
            self._wrong(location, f"must be {_IN_YAML[kind]}{shown}")
        elif kind.startswith("bool"):
            self._wrong(location, f"must be true or false{shown}")
        else:
            message = detail["msg"].removeprefix("Input should be ")
            self._wrong(location, f"must be {message}{shown}" if message != detail["msg"] else f"{message}{shown}")

    def _not_yet(self, model: type[BaseModel], data: object, place: Location) -> None:
        if not isinstance(data, dict):
            return
        for key, value in data.items():
            field = model.model_fields.get(key)
            if field is None:
                continue
            works = today(field)
            if works is not None and meant(field, value) not in works:
                instead = f", or write {' or '.join(dict.fromkeys(map(_yaml, works)))}" if works else ""
                self._wrong((*place, key), f"{NOT_YET}: remove the line{instead}", at_key=True)
            elif inner := nested(field.annotation):
                self._not_yet(inner, value, (*place, key))

    def told(self) -> list[Mistake]:
        """Return the mistakes, without those of what is not in this version, whatever is written there."""
        missing = {one.location for one in self._mistakes if one.message.startswith(NOT_YET)}
        return [one for one in self._mistakes if one.location not in missing or one.message.startswith(NOT_YET)]

    def _wrong(self, location: Location, message: str, *, at_key: bool = False) -> None:
        self._mistakes.append(self._document.mistake(location, without_password(message), at_key=at_key))


def _only_upstream(written: object, defaults: HostOptions) -> HostOptions | None:
    """Return the options of `HOST: UPSTREAM`, or None when it is wrong: most hosts of a long file are written so."""
    try:
        return defaults.model_copy(update={"upstream": _UPSTREAMS.validate_python(written)})
    except ValidationError:
        return None


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.6)
    return "unknown key" + (f": did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}")


def _written_place(location: Sequence[str | int], data: Any) -> Location:
    """Return a place without what pydantic adds to it (`tuple[Upstream, ...]`), which a key may look like."""
    found: list[str | int] = []
    for part in location:
        is_key = isinstance(data, dict) and part in data
        if is_key or not isinstance(part, str) or "[" not in part:
            found.append(part)
            is_index = isinstance(data, list) and isinstance(part, int) and part < len(data)
            data = data[part] if is_key or is_index else None
    return tuple(found)


def _siblings(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        model = (nested(field.annotation) if field else None) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _yaml(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool | list | dict) else str(value)
