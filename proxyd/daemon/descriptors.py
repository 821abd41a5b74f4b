"""How many files this process may have open."""

import resource

#: Listeners, the cache, the CA, and a few clients with their upstreams. With fewer nothing can be promised.
FEWEST = 64


def objection() -> str | None:
    """Return why too few files may be open to serve anybody, or None."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= FEWEST:
        return None
    return (
        f"only {allowed} files may be open, {FEWEST} are the least and each client needs two: "
        "raise the limit (LimitNOFILE in the unit, ulimit -n)"
    )
