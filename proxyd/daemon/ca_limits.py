"""What is known of the limits of the CAs, and which domain a name is counted under."""

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from ipaddress import ip_network

from publicsuffixlist import PublicSuffixList

from proxyd.config.acme import AcmeOptions
from proxyd.core.hostname import Hostname
from proxyd.core.rate_ledger import LETS_ENCRYPT, CaLimits
from proxyd.core.token_bucket import Limit

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_KNOWN = {
    "letsencrypt": LETS_ENCRYPT,
    "letsencrypt-staging": CaLimits(  # docs/staging-environment
        orders=Limit(1500, 3 * _HOUR),
        certificates_per_domain=Limit(30_000, 7 * _DAY),
        duplicates=Limit(30_000, 7 * _DAY),
        failures=Limit(200, _HOUR),
        accounts=Limit(50, 3 * _HOUR),
    ),
}
_NO_LIMITS = CaLimits(
    orders=Limit(10**6, 3 * _HOUR),
    certificates_per_domain=Limit(10**6, 7 * _DAY),
    duplicates=Limit(10**6, 7 * _DAY),
    failures=Limit(10**6, _HOUR),
    accounts=Limit(10**6, 3 * _HOUR),
)


def limits_of(options: AcmeOptions) -> CaLimits | None:
    """Return the limits that are known of a CA, with what the user wrote on top."""
    known, own = _KNOWN.get(options.server), options.limits
    if own is None:
        return known

    base = known or _NO_LIMITS
    return CaLimits(
        orders=_limit(own.orders_per_3h, base.orders),
        certificates_per_domain=_limit(own.certificates_per_domain_per_7d, base.certificates_per_domain),
        duplicates=_limit(own.duplicates_per_7d, base.duplicates),
        failures=_limit(own.failures_per_hour, base.failures),
        accounts=_limit(own.accounts_per_3h, base.accounts),
    )


def _limit(written: int | None, known: Limit) -> Limit:
    return known if written is None else Limit(written, known.period)


@lru_cache(maxsize=1)
def registered_domains() -> Callable[[Hostname], str]:
    """Return what maps a name to the domain that was registered, by the public suffix list; IPv6 to its /64."""
    suffixes = PublicSuffixList()

    def registered_domain(name: Hostname) -> str:
        if ":" in name.text:
            return str(ip_network(f"{name}/64", strict=False))
        return name.text if name.is_ip_address else suffixes.privatesuffix(name.text) or name.text

    return registered_domain
