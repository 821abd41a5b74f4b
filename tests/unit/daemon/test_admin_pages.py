"""What the admin listener shows of the daemon: what tests/e2e/test_metrics.py does not see."""

from proxyd.config.load import parse
from proxyd.core.hostname import Hostname
from proxyd.core.status import HostStatus
from proxyd.daemon.admin_pages import states_by_pattern

FILE = """
acme: {on_demand: {ask: "http://127.0.0.1:9000/check"}}
hosts: {"*.apps.example.com": 1, "*": 2, listed.example.com: 3}
"""


def test_names_that_clients_choose_are_counted_under_their_pattern() -> None:
    states = {"a.apps.example.com": "ready", "b.apps.example.com": "ready", "c.example.org": "waiting"}
    states |= {"listed.example.com": "ready"}  # since the last reload
    rows = {name: HostStatus(host=Hostname(name), state=state, issuer=None) for name, state in states.items()}
    assert states_by_pattern(parse(FILE, "f"), rows) == {("*.apps.example.com", "ready"): 2, ("*", "waiting"): 1}
