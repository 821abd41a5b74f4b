"""From an Exchange to an upstream and back: checks, routes, header rules, errors, access log."""
