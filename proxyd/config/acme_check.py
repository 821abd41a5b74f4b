"""What is written about CAs and can never work, or hardly will: said before anything is ordered in vain."""

from collections.abc import Iterator
from dataclasses import dataclass

from proxyd.config.acme import AcmeOptions
from proxyd.config.ca_bundle import CaBundleError, trust
from proxyd.config.document import Location
from proxyd.config.model import ListenOptions

#: Where CAs that make accounts only for their customers hand out the external account binding.
_EAB_FROM = {
    "zerossl": "https://app.zerossl.com/developer",
    "google": "https://cloud.google.com/certificate-manager/docs/public-ca-tutorial",
    "google-staging": "https://cloud.google.com/certificate-manager/docs/public-ca-tutorial",
}
#: One certificate is proved the same way, with the same kinds of keys, whichever CA gives it.
_COMMON = ("key_type", "challenges", "on_demand")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeFinding:
    """`location` counts from `acme`; what is no mistake may still work, and is a warning."""

    location: Location
    message: str
    is_mistake: bool = True


def acme_findings(chosen: AcmeOptions, written: AcmeOptions, listen: ListenOptions) -> Iterator[AcmeFinding]:
    """Yield what is wrong with what holds in the end (`chosen`), of which this place of the file says `written`."""
    yield from _challenges(chosen, written, listen)
    yield from _account(chosen, ())
    if "fallback" not in written.model_fields_set:
        return
    servers = [chosen.server]
    for index, ca in enumerate(chosen.fallback):
        place: Location = ("fallback", index)
        if "server" not in ca.model_fields_set or ca.fallback:
            yield AcmeFinding(location=place, message="needs a server of its own, and no further fallback")
            continue
        if ca.server in servers:
            message = f"{ca.server} is asked before: name another CA, or remove it"
            yield AcmeFinding(location=(*place, "server"), message=message)
        servers.append(ca.server)
        for key in _COMMON:
            if key in ca.model_fields_set:
                message = "belongs to acme itself and holds for every CA: remove it here"
                yield AcmeFinding(location=(*place, key), message=message)
        yield from _account(ca, place)


def bundle_findings(chosen: AcmeOptions) -> Iterator[AcmeFinding]:
    """Yield which files of roots cannot be used: its hosts would get no certificate."""
    places: list[tuple[Location, AcmeOptions]] = [((), chosen)]
    places += [(("fallback", index), ca) for index, ca in enumerate(chosen.fallback)]
    for place, ca in places:
        if ca.ca_bundle is not None:
            try:
                trust(ca.ca_bundle)
            except CaBundleError as error:
                yield AcmeFinding(location=(*place, "ca_bundle"), message=str(error))


def _challenges(chosen: AcmeOptions, written: AcmeOptions, listen: ListenOptions) -> Iterator[AcmeFinding]:
    place: Location = ("challenges",)
    if not chosen.challenges:
        message = "leaves no way to prove that a host is yours: write [tls-alpn-01, http-01], or remove the line"
        yield AcmeFinding(location=place, message=message)
        return
    usable = listen.usable(chosen.challenges)
    lost = [one for one in chosen.challenges if one not in usable]
    if not usable:
        keys = " and ".join(f"listen.{listen.needed_by(one)}" for one in dict.fromkeys(lost))
        what = " and ".join(dict.fromkeys(lost))
        message = f"nothing listens for {what}, because {keys} is []: name an address there, or another challenge"
        yield AcmeFinding(location=place, message=message)
    elif lost and "challenges" in written.model_fields_set:
        message = f"{lost[0]} is not tried, because listen.{listen.needed_by(lost[0])} is []"
        yield AcmeFinding(location=place, message=message, is_mistake=False)


def _account(ca: AcmeOptions, place: Location) -> Iterator[AcmeFinding]:
    if ca.eab is None and (url := _EAB_FROM.get(ca.server)):
        message = (
            f"{ca.server} makes no account without eab: add the kid and hmac_key that you get at {url}, "
            "unless the cache has the key of an account there"
        )
        yield AcmeFinding(location=(*place, "server"), message=message, is_mistake=False)
