"""What a reload leaves for the next restart."""

from proxyd.config.load import parse
from proxyd.daemon.config_fingerprint import change
from proxyd.daemon.reload import as_started

HOST = "hosts:\n  a.example.com: 1\n"


def test_what_takes_effect_at_a_restart_stays_and_all_else_comes() -> None:
    started = parse(f"workers: 2\nadmin: {{listen: [], socket: /old}}\nlisten: {{https: ':1'}}\n{HOST}", "f")
    text = "workers: 3\ncache: /c\nfast_path: false\ndrain: 5s\nadmin: {listen: '127.0.0.1:1', socket: /new}\n"
    new = parse(f"{text}listen: {{https: ':2', proxy_protocol: [10.0.0.0/8]}}\n{HOST}", "f")
    running = as_started(new, started)
    assert (running.workers, running.cache, running.fast_path) == (2, None, True)
    assert str(running.admin.socket) == "/old"
    assert running.listen.proxy_protocol == ()
    assert (running.admin.listen, running.listen.https, running.drain) == (
        new.admin.listen,
        new.listen.https,
        new.drain,
    )
    assert change(started, running, started=started).restart == []
    assert {*change(started, new, started=started).restart} == {
        "admin.socket",
        "cache",
        "fast_path",
        "listen.proxy_protocol",
        "workers",
    }
