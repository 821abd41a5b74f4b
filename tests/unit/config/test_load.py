import base64
import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.document import ConfigError
from proxyd.config.load import from_pairs, load, parse
from proxyd.config.model import AccessLog, Config
from proxyd.core.hostname import Hostname

ONE = "hosts:\n  example.com: {upstream: 80, "
HOST = "hosts:\n  example.com: 8080\n"


def test_the_smallest_file() -> None:
    config = parse("hosts:\n  example.com: http://127.0.0.1:8080\n", "f")
    (host, options), *_ = config.hosts.items()
    assert (host, str(options.upstream[0])) == (Hostname("example.com"), "http://127.0.0.1:8080")
    assert [str(one) for one in (*config.listen.https, *config.listen.http)] == [":443", ":80"]
    assert config.drain == timedelta(seconds=30)


@pytest.mark.parametrize(
    "upstream", ["8080", '":8080"', "localhost:8080", "127.0.0.1:8080", "'[::1]:8080'", "http://localhost:8080/"]
)
def test_short_upstreams(upstream: str) -> None:
    config = parse(f"hosts:\n  example.com: {upstream}\n", "f")
    assert config.hosts[Hostname("example.com")].upstream[0].port == 8080


@pytest.mark.parametrize("upstream", ["8080", "http://localhost:8080/", "[http://10.0.0.1:80]"])
def test_a_host_written_as_its_upstream_is_the_host_with_that_option(upstream: str) -> None:
    defaults = "defaults: {aliases: [], timeouts: {connect: 4s}}\n"
    short = parse(f"{defaults}hosts:\n  example.com: {upstream}\n", "f")
    long = parse(f"{defaults}hosts:\n  example.com: {{upstream: {upstream}}}\n", "f")
    assert short.hosts == long.hosts
    (one, other) = (*short.hosts.values(), *long.hosts.values())
    assert one.model_fields_set == other.model_fields_set


def test_defaults_are_overlaid_key_by_key() -> None:
    text = "defaults: {timeouts: {connect: 9s, response: 1h}}\n"
    text += "hosts:\n  a.example.com: {upstream: 1, timeouts: {response: 5s}}\n"
    timeouts = parse(text, "f").hosts[Hostname("a.example.com")].timeouts
    assert (timeouts.connect, timeouts.response, timeouts.idle) == (
        timedelta(seconds=9),
        timedelta(seconds=5),
        timedelta(seconds=60),
    )


@pytest.mark.parametrize("written", ["false", "off", "no", "null"])
def test_what_is_switched_off_is_off(written: str) -> None:
    config = parse(f"{ONE}maintenance: {written}, hsts: {written}}}\n", "f")
    (options,) = config.hosts.values()
    assert (options.maintenance, options.hsts) == (None, None)


def test_what_is_switched_on_has_its_defaults() -> None:
    config = parse(f"defaults: {{maintenance: true}}\n{ONE}aliases: []}}\nlog: {{access: on}}\n", "f")
    (options,) = config.hosts.values()
    assert options.maintenance is not None
    assert (options.maintenance.retry_after, config.log.access) == (timedelta(seconds=60), AccessLog())
    for place in ("maintenance: {retry: 1s}", "maintenance: 5"):
        with pytest.raises(ConfigError, match="maintenance"):
            parse(f"{ONE}{place}}}\n", "f")


def test_anchors_merges_and_x_keys() -> None:
    text = "x-base: &base {upstream: 8080}\n"
    text += "hosts:\n  a.example.com: *base\n  b.example.com: {<<: *base, aliases: [c.example.com]}\n"
    assert [name.text for name in parse(text, "f").names] == ["a.example.com", "b.example.com", "c.example.com"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f:1:1: the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "must be a mapping"),
        ("hosts: {}\n", "f:1:1: hosts: needs at least one host"),
        ("hosts: [a.b.com]\n", "f:1:1: hosts: must be a mapping: each host with its upstream"),
        (HOST + "cache: 5\n", "f:3:8: cache: must be a path (written: 5)"),
        (HOST + "acme: {server: 5}\n", "acme.server: must be text (written: 5)"),
        (HOST + "defaults: {aliases: a.b.com}\n", "defaults.aliases: must be a list (written: a.b.com)"),
        (HOST + "drain: yes\n", "must be a duration with a unit, like 10s"),
        ("hosts:\n  a.b.com: [\n", "YAML syntax"),
        ("hosts:\n\ta: b\n", "tabs"),
        ("hosts:\n  *.example.com: 80\n", 'write "*.example.com": 80'),
        (HOST + "cahce: /tmp\n", "f:3:1: cahce: unknown key: did you mean cache?"),
        ("hosts:a [b: 8080\n", "f:1:1: hosts:a [b: unknown key"),
        (ONE + "paths: {'/[a]/': {upstreamm: 80}}}\n", "paths./[a]/.upstreamm: unknown key: did you mean upstream?"),
        (HOST + "  Example.COM.: 80\n", "f:3:3: hosts.Example.COM.: example.com is listed twice"),
        (HOST + "  example.com: 80\n", "f:3:3: hosts.example.com: written twice, first on line 2"),
        ("hosts:\n  https://example.com/: 80\n", "f:2:3: hosts.https://example.com/: 'https://example.com/' is a URL"),
        (
            "hosts:\n  example.com: foo:90\n",
            "f:2:16: hosts.example.com: 'foo:90' has no scheme: write http://foo:90",
        ),
        ("hosts:\n  example.com: 0\n", "f:2:16: hosts.example.com: 'http://127.0.0.1:0': nothing listens on port 0"),
        ("hosts:\n  example.com: {upstream: 'localhost:0'}\n", "nothing listens on port 0"),
        (
            HOST + "listen: {https: ':8443', http: '127.0.0.1:8443'}\n",
            "f:3:32: listen.http[0]: 127.0.0.1:8443 is taken by listen.https (:8443): choose another port",
        ),
        (HOST + "listen: {https: ['[::]:443', '[::1]:443']}\n", "f:3:30: listen.https[1]: [::1]:443 is taken by"),
        (HOST + "listen: {http: 443}\n", "f:3:16: listen.http[0]: :443 is taken by listen.https (:443)"),
        ("hosts:\n  example.com: ftp://x\n", "the scheme must be http"),
        ("hosts:\n  example.com: http://x/y\n", "more than scheme, host and port"),
        ("hosts:\n  example.com:\n", "needs an upstream"),
        (
            "hosts:\n  example.com: {timeouts: {conect: 3s}}\n",
            "f:2:28: hosts.example.com.timeouts.conect: unknown key: did you mean connect?",
        ),
        ("hosts:\n  example.com: {upstream: 80, timeouts: {connect: 3}}\n", "did you mean 3s? (written: 3)"),
        (HOST + "drain: soon\n", "f:3:8: drain: must be a duration with a unit"),
        (HOST + "listen: {https: foo}\n", "f:3:17: listen.https[0]: must be HOST:PORT"),
        (HOST + "workers: 0\n", "f:3:10: workers: must be auto, or a number from 1 to 64 (written: 0)"),
        (HOST + "listen: {http2: 2}\n", "f:3:17: listen.http2: must be true or false"),
        (
            HOST + "limits: {http2: {max_stream: 5}}\n",
            "limits.http2.max_stream: unknown key: did you mean max_streams?",
        ),
        (HOST + "limits: {http2: {resets: 0}}\n", "f:3:26: limits.http2.resets: must be greater than or equal to 1"),
        (
            HOST + "limits: {http2: {stream_window: 1KiB}}\n",
            "http2.stream_window: must be greater than or equal to 65535",
        ),
        (HOST + "  *: 80\n", 'write "*": 80'),
        (
            "hosts:\n  example.com: [80, 81, http://127.0.0.1:80]\n",
            "f:2:25: hosts.example.com[2]: http://127.0.0.1:80 is listed twice: remove one",
        ),
        (
            "hosts:\n  example.com: {upstream: [80, 80]}\n",
            "f:2:32: hosts.example.com.upstream[1]: http://127.0.0.1:80 is listed twice",
        ),
        ("hosts:\n  example.com: unix:app.sock\n", "a unix socket needs an absolute path"),
        ("hosts:\n  example.com: {upstream: 80, balance: random}\n", "balance: must be 'least_conn', 'round_robin'"),
        (
            "hosts:\n  example.com: {upstream: 80, health: {path: up}}\n",
            "f:2:46: hosts.example.com.health.path: must be a path of your application that begins with /",
        ),
        (
            "hosts:\n  example.com: {upstream: 80, health: {fails: 0}}\n",
            "health.fails: must be greater than or equal to 1 (written: 0)",
        ),
        (
            "hosts:\n  example.com: {upstream: 80, health: {interval: 0}}\n",
            "health.interval: must be longer than 0, like 10s (written: 0)",
        ),
        ("hosts:\n  example.com: {upstream: 80, max_upstream_connections: 0}\n", "must be greater than or equal to 1"),
        (
            "hosts:\n  example.com: {upstream: https://a.test, upstream_tls: {key: /k.pem}}\n",
            "f:2:57: hosts.example.com.upstream_tls: key needs cert",
        ),
        (
            "hosts:\n  example.com: {upstream: https://a.test, upstream_tls: {insecure_skip_verify: true}}\n",
            "upstream_tls.insecure_skip_verify: unknown key: upstreams are always verified",
        ),
        (
            "hosts:\n  example.com: {upstream: https://a.test, upstream_tls: {pin: 'sha256:00'}}\n",
            "upstream_tls.pin: must be sha256: and the hash of the public key",
        ),
        (
            f"hosts:\n  a.b.com: {{upstream: https://a.test, upstream_tls: {{ca: /a, pin: 'sha256:{'a' * 64}'}}}}\n",
            "upstream_tls: pin replaces ca: remove one of them",
        ),
        (
            "hosts:\n  nas.local: {upstream: 80, tls: {issuer: acme}}\n",
            "f:2:3: hosts.nas.local: no public CA certifies nas.local: remove `issuer: acme`",
        ),
        ("defaults: {tls: {issuer: acme}}\nhosts:\n  192.0.2.1: 80\n", "no public CA certifies 192.0.2.1"),
        ("hosts:\n  8.8.8.8: 80\n", "only with `acme: {profile: shortlived}`"),
        (HOST + "acme: {fallback: [{email: a@b.test}]}\n", "acme.fallback[0]: needs a server of its own"),
        (HOST + "acme: {server: http://ca.example/dir}\n", "write https://ca.example/dir"),
        (HOST + "acme: {email: nobody}\n", "must be one e-mail address"),
        (HOST + "log: {level: loud}\n", "must be 'debug', 'info', 'warning' or 'error' (written: loud)"),
        (HOST + "log: loud\n", "log: must be a mapping"),
        (HOST + "watch: perhaps\n", "f:3:8: watch: must be true or false (written: perhaps)"),
        (HOST + "trusted_proxies: [10.0.0.1/8]\n", "f:3:19: trusted_proxies[0]: must be a network like 10.0.0.0/8"),
        (HOST + "trusted_proxies: [10.0.0.1/8]\n", "did you mean 10.0.0.0/8? (written: 10.0.0.1/8)"),
        (HOST + "trusted_proxies: public\n", "trusted_proxies[0]: must be a network like"),
        (HOST + "default_host: exmaple.com\n", "f:3:15: default_host: exmaple.com is not under hosts: did you mean"),
        (HOST + "ready_path: ready\n", "f:3:13: ready_path: must be a path of its own"),
        (HOST + "ready_path: /.well-known/acme-challenge/x\n", "where CAs ask for the answers"),
        (ONE + "redirect: new.example.com}\n", "f:2:41: hosts.example.com.redirect.to: must be a URL like https://www"),
        (ONE + "redirect: //new.example.com/}\n", "redirect.to: must be a URL like"),
        (ONE + "redirect: /new/}\n", "f:2:41: hosts.example.com.redirect: is a path of this host"),
        (ONE + "redirect: 'https://Example.com:443/x'}\n", "redirect: sends clients of example.com to example.com"),
        (ONE + "redirect: {to: 'https://b.com/?a'}}\n", "redirect: has a query or fragment"),
        (
            ONE + "redirect: {to: 'https://b.com', status: 200}}\n",
            "f:2:71: hosts.example.com.redirect.status: must be 301,",
        ),
        (ONE + "redirect: 'https://b.com/a b'}\n", "redirect.to: must be a URL of ASCII characters"),
        ('hosts:\n  a.com: {redirect: "https://b.com/\\r\\nX: y"}\n', "redirect.to: must be a URL of ASCII"),
        ("hosts:\n  a.com: {paths: {/x: 80}}\n", "f:2:3: hosts.a.com: has no upstream"),
        (ONE + "paths: {static: 80}}\n", "f:2:47: hosts.example.com.paths.static: must be a path that begins with /"),
        (ONE + "paths: {/static/*: 80}}\n", "stands for all below it without a *: write /static/"),
        (ONE + "paths: {/a?b: 80}}\n", "must be a path without a query"),
        (ONE + "paths: {/a: 80, /a/: 81}}\n", "hosts.example.com.paths: /a and /a/ are the same path"),
        (ONE + "paths: {/a: {strip: true}}}\n", "paths./a: needs an upstream or a redirect"),
        (ONE + "paths: {/a: {upstream: 80, redirect: /b}}}\n", "paths./a: sends its clients elsewhere"),
        (ONE + "paths: {/a: {upstream: 80, stripp: true}}}\n", "stripp: unknown key: did you mean strip?"),
        (ONE + "paths: {/a: ftp://x}}\n", "paths./a.upstream[0]: 'ftp://x': the scheme must be http"),
        (
            ONE + "headers: {request: {set: {Host: x}}}}\n",
            "request.set.Host: Host cannot be changed here: write host_header",
        ),
        (ONE + "headers: {request: {set: {X_Forwarded_For: x}}}}\n", "X_Forwarded_For is for proxyd to say"),
        (ONE + "headers: {request: {remove: [X-Request-ID]}}}\n", "request.remove[0]: X-Request-ID is for proxyd"),
        (
            ONE + "headers: {response: {remove: [connection]}}}\n",
            "response.remove[0]: connection is about one connection",
        ),
        (
            ONE + "headers: {response: {set: {Content-Length: 5}}}}\n",
            "Content-Length is about one connection or the length",
        ),
        (ONE + "headers: {request: {set: {'a b': x}}}}\n", "must be the name of a header field"),
        (
            ONE + 'headers: {request: {set: {A: "x\\r\\nB: y"}}}}\n',
            "f:2:60: hosts.example.com.headers.request.set.A: must be one",
        ),
        (ONE + "headers: {request: {set: {A: [x]}}}}\n", "headers.request.set.A: must be text: put it in quotes"),
        (ONE + "allow: [10.0.0.1/8]}\n", "f:2:39: hosts.example.com.allow[0]: must be a network like"),
        (ONE + "maintenance: {page: 5}}\n", "maintenance.page: must be a path (written: 5)"),
        (
            "hosts:\n  [2001:db8::1]: 8080\n",
            'f:2:3: hosts: an IPv6 address as a key needs quotes: write "2001:',
        ),
        ("hosts:\n  [::1]: 8080\n", 'an IPv6 address as a key needs quotes: write "::1": 8080'),
        (HOST + "default_host: other.org\n", "other.org is not under hosts: list it there, or name one that is"),
    ],
)
def test_mistakes_have_a_place_and_a_next_step(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert says in str(caught.value)


def test_what_hosts_have_in_common_may_be_an_anchor() -> None:
    common = "x-common: &common {timeouts: {connect: 1s, idle: 5s}, headers: {response: {set: {X-A: a, X-B: b}}}}\n"
    hosts = "".join(f"  h{number}.example.com: {{<<: *common, upstream: 80}}\n" for number in range(2000))
    assert len(parse(f"{common}hosts:\n{hosts}", "f").names) == 2000


@pytest.mark.parametrize("option", ["acme: {dns: {provider: exec}}"])
def test_what_is_not_in_this_version_is_said_once(option: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{ONE}{option}}}\n", "f")
    (mistake,) = caught.value.mistakes
    assert mistake.message.startswith("not in this version yet: remove the line, or write ")


def test_networks_of_trusted_proxies() -> None:
    config = parse(HOST + "trusted_proxies: [private, 192.0.2.1, '::ffff:198.51.100.0/120']\n", "f")
    assert [str(one) for one in config.trusted_proxies[-2:]] == ["192.0.2.1/32", "198.51.100.0/24"]
    assert "10.0.0.0/8" in [str(one) for one in config.trusted_proxies]
    assert parse(HOST + "trusted_proxies: private\n", "f").trusted_proxies == config.trusted_proxies[:-2]


def test_who_believes_everybody_is_warned() -> None:
    (warning,) = parse(HOST + "trusted_proxies: [10.0.0.0/8, '::/0']\n", "f").warnings
    assert warning.startswith("f:3:31: trusted_proxies[1]: warning: ::/0 is everybody")


def test_the_default_host_may_be_an_alias() -> None:
    text = "default_host: www.example.com\nhosts: {example.com: {upstream: 80, aliases: [www.example.com]}}\n"
    assert parse(text, "f").default_host == Hostname("www.example.com")


def test_all_mistakes_are_said_at_once_in_the_order_of_the_file() -> None:
    text = "cahce: /tmp\nhosts:\n  a b: 80\n  c.com: foo:1\ndrain: 5\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert [one.line for one in caught.value.mistakes] == [1, 3, 4, 5]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "no", "there is no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=says):
            load(path)
    (tmp_path / "latin").write_bytes(b"hosts: {b\xfc: 1}")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin")


def test_addresses_beside_each_other_do_not_exclude_each_other() -> None:
    for listen in (
        "{https: ['0.0.0.0:443', '[::]:443'], http: ['127.0.0.1:80', '127.0.0.2:80']}",
        "{https: 0, http: 0}",
    ):
        assert parse(f"{HOST}listen: {listen}\n", "f").listen.https


def test_a_ca_bundle_that_cannot_be_used_has_its_place(tmp_path: Path) -> None:
    file, broken = tmp_path / "f", tmp_path / "broken.pem"
    broken.write_text("no PEM")
    text = "acme:\n  server: https://ca.test/d\n  ca_bundle: /no.pem\n  fallback: [{server: 'https://b.test/d', "
    file.write_text(
        text + f"ca_bundle: {broken}}}]\n" + HOST + "  b.example.com: {upstream: 1, acme: {email: a@b.test}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [(one.line, one.column, one.location) for one in caught.value.mistakes] == [
        (3, 14, "acme.ca_bundle"),
        (4, 54, "acme.fallback[0].ca_bundle"),
    ]
    assert "/no.pem cannot be used (No such file or directory): it must be the CA's root in PEM" in str(caught.value)
    assert f"{broken} cannot be used" in str(caught.value)
    assert len(load(file, reads_bundles=False).names) == 2


def test_a_daemon_bears_a_broken_ca_bundle_that_one_host_has_for_itself(tmp_path: Path) -> None:
    file, own = (
        tmp_path / "f",
        "  b.example.com: {upstream: 1, acme: {server: 'https://ca.test/d', ca_bundle: /no.pem}}\n",
    )
    file.write_text(HOST + own)
    with pytest.raises(ConfigError):
        load(file)
    (warning,) = load(file, serves=True).warnings
    assert "hosts.b.example.com.acme.ca_bundle: warning: /no.pem cannot be used" in warning
    inherits = "hosts: {b.example.com: {upstream: 1, acme: {email: a@b.test}}}\n"
    file.write_text("acme: {server: 'https://ca.test/d', ca_bundle: /no.pem}\n" + inherits)
    with pytest.raises(ConfigError):
        load(file, serves=True)


def test_pairs_of_the_command_line() -> None:
    assert len(from_pairs([("example.com", "8080"), ("example.org", "http://10.0.0.1:1")]).names) == 2
    with pytest.raises(ConfigError, match="has no scheme"):
        from_pairs([("example.com", "x:1")])
    with pytest.raises(ConfigError, match="given twice"):
        from_pairs([("example.com", "1"), ("example.com", "2")])
    with pytest.raises(ConfigError, match="a port: a host is only a name"):
        from_pairs([('a"b: c', "8080")])


def test_alias_bombs_are_refused() -> None:
    text = "x-0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"x-{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    with pytest.raises(ConfigError, match="aliases"):
        parse(text + "drain: *a8\n" + HOST, "f")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*Config.model_fields, "upstream", "https", "zz"]), inner, max_size=4)
        ),
    )
)
def test_whatever_is_written_only_config_errors_come(data: object) -> None:
    with contextlib.suppress(ConfigError):
        parse(yaml.safe_dump(data), "f")


def test_dns_servers_are_addresses_with_a_port_of_53_unless_written() -> None:
    written = '["192.0.2.53", "192.0.2.53:5353", "2001:DB8::53", "[2001:db8::53]:5353"]'
    found = parse(f"resolvers: {written}\n" + HOST, "f").resolvers
    assert [str(one) for one in found] == [
        "192.0.2.53:53",
        "192.0.2.53:5353",
        "[2001:db8::53]:53",
        "[2001:db8::53]:5353",
    ]
    assert parse("resolvers: 192.0.2.53\n" + HOST, "f").resolvers == found[:1]


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("dns.example.com", "must be the IP address of a DNS server.*written: dns.example.com"),
        ('"192.0.2.53:0"', "must have a port from 1 to 65535"),
        ('"192.0.2.53:99999"', "must have a port from 1 to 65535"),
        ('"[2001:db8::1]:x"', "must have a port from 1 to 65535"),
        ("https://dns.example/dns-query", "must be the IP address"),
        ("53", "must be the IP address"),
        ('""', "must be the IP address"),
    ],
)
def test_what_is_no_dns_server_is_refused(written: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        parse(f"resolvers: [{written}]\n" + HOST, "f")


@pytest.mark.parametrize(
    ("listen", "is_right"),
    [
        ("https: ':8443'\n  http: ':8443'", False),
        ("https: '127.0.0.1:8443'\n  http: localhost:8443", False),
        ("https: ':80'", False),  # http's default
        ("https: [':443', '[::1]:443']", False),
        ("https: 0.0.0.0:8443\n  http: 127.0.0.1:8443", False),
        ("https: '[::1]:8443'\n  http: '[::]:8443'", False),
        ("https: 0.0.0.0:8443\n  http: '[::]:8443'", True),
        ("https: 127.0.0.1:8443\n  http: 127.0.0.2:8443", True),
        ("https: 127.0.0.1:0\n  http: 127.0.0.1:0", True),
    ],
)
def test_each_listener_has_an_address_of_its_own(listen: str, is_right: bool) -> None:
    text = f"listen:\n  {listen}\n{HOST}"
    if is_right:
        parse(text, "f")
    else:
        with pytest.raises(ConfigError, match=r"is taken by listen\.https .*: choose another port"):
            parse(text, "f")


def test_files_that_verify_upstreams_must_be_usable_and_have_their_place(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate\n")
    file = tmp_path / "config.yaml"
    file.write_text(
        f"defaults: {{upstream_tls: {{ca: {broken}}}}}\n"
        "hosts:\n"
        "  a.example.com: https://10.0.0.1\n"
        "  b.example.com: https://10.0.0.2\n"
        "  c.example.com: {upstream: https://10.0.0.3, upstream_tls: {ca: /no.pem}}\n"
        "  d.example.com: http://10.0.0.4\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert [(one.line, one.column, one.location) for one in caught.value.mistakes] == [
        (1, 31, "defaults.upstream_tls.ca"),
        (5, 66, "hosts.c.example.com.upstream_tls.ca"),
    ]
    assert "it must be the CA's root in PEM" in str(caught.value)
    assert "/no.pem cannot be used (No such file or directory)" in str(caught.value)
    warnings = load(file, serves=True).warnings  # one host's trouble is no other's
    assert len(warnings) == 2
    assert load(file, reads_bundles=False).warnings == ()


def test_upstream_tls_without_an_https_upstream_is_hardly_meant() -> None:
    text = "hosts:\n  a.example.com: {upstream: 10.0.0.1, upstream_tls: {server_name: a.test}}\n"
    (warning,) = parse(text.replace("10.0.0.1", "http://10.0.0.1:8443"), "f").warnings
    assert warning.startswith("f:2:65: hosts.a.example.com.upstream_tls: warning: has no effect: no TLS is spoken to")


def test_an_upstream_beside_a_redirect_is_never_asked() -> None:
    both = "hosts:\n  a.example.com: {upstream: 8080, redirect: https://b.example.com, paths: {/a/: 8081}}\n"
    (warning,) = parse(both, "f").warnings
    assert warning == (
        "f:2:29: hosts.a.example.com.upstream: warning: is never asked: every request outside of paths is redirected "
        "to https://b.example.com; remove one of the two"
    )
    common = "defaults: {redirect: https://b.example.com}\nhosts:\n  a.example.com: 8080\n"
    (warning,) = parse(common, "f").warnings
    assert "is never asked: every request is redirected to https://b.example.com" in warning
    assert parse(f"{common}  c.example.com: {{upstream: 1, redirect: false}}\n", "f").warnings == (warning,)
    assert parse("defaults: {upstream: 1}\nhosts: {a.example.com: {redirect: https://b.test}}\n", "f").warnings == ()


def test_a_pin_is_read_in_both_forms() -> None:
    text = "hosts:\n  a.example.com: {{upstream: https://10.0.0.1, upstream_tls: {{pin: '{}'}}}}\n"
    digest = bytes(range(32))
    for written in (digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode()):
        config = parse(text.format(f"sha256:{written}"), "f")
        assert config.hosts[Hostname("a.example.com")].upstream_tls.pin == f"sha256:{digest.hex()}"


@pytest.mark.parametrize("written", ["1.2", '"1.2"', "tls1.2", "TLSv1.2", "TLS1.2"])
def test_versions_as_people_write_them(written: str) -> None:
    text = f"hosts: {{a.example.com: {{upstream: 80, tls: {{min_version: {written}}}}}}}"
    for version in ("1.2", "1.3"):
        parsed = parse(text.replace("1.2", version), "f")
        assert parsed.hosts[Hostname("a.example.com")].tls.min_version == version
    with pytest.raises(ConfigError, match=r"must be '1.2' or '1.3' \(written: "):
        parse(text.replace("1.2", "1.1"), "f")


@pytest.mark.parametrize(
    ("written", "requests", "seconds", "burst"),
    [
        ("{requests: 100}", 100, 1, None),
        ("{requests: 5, per: 2m, burst: 9}", 5, 120, 9),
        ("100/s", 100, 1, None),
        ("10/min", 10, 60, None),
        ("7 / 10m", 7, 600, None),
    ],
)
def test_a_rate_limit_as_people_write_it(written: str, requests: int, seconds: int, burst: int | None) -> None:
    limit = (
        parse(f"hosts: {{a.example.com: {{upstream: 80, rate_limit: {written}}}}}", "f")
        .hosts[Hostname("a.example.com")]
        .rate_limit
    )
    assert limit is not None
    assert (limit.requests, limit.per.total_seconds(), limit.burst) == (requests, seconds, burst)


@pytest.mark.parametrize("written", ["{requests: 0}", "{per: 1s}", "{requests: 1, per: 0s}", "{requests: 1, burst: 0}"])
def test_a_rate_limit_that_would_let_nobody_in_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="rate_limit"):
        parse(f"hosts: {{a.example.com: {{upstream: 80, rate_limit: {written}}}}}", "f")


@pytest.mark.parametrize("written", ["100/x", "100", "often", "0/s"])
def test_a_rate_limit_that_is_none_is_refused(written: str) -> None:
    with pytest.raises(ConfigError, match="rate_limit"):
        parse(f"hosts: {{a.example.com: {{upstream: 80, rate_limit: {written}}}}}", "f")


def test_false_is_off_as_null_is() -> None:
    keys = ["health", "export", "on_renew", "redirect", "rate_limit", "basic_auth", "forward_auth", "hsts"]
    text = "\n".join(f"    {key}: false" for key in keys)
    defaults = "defaults: {health: {path: /up}, redirect: https://b.example.com, export: {dir: /d}, on_renew: [a]}"
    found = parse(f"{defaults}\nhosts:\n  a.example.com:\n    upstream: 80\n{text}\n", "f")
    options = found.hosts[Hostname("a.example.com")]
    assert [getattr(options, key) for key in keys] == [None] * len(keys)


def test_what_is_empty_is_the_default() -> None:
    found = parse("log:\n  access:\nalerts:\nhosts: {a.example.com: 80}", "f")
    assert found.log.access == AccessLog()
    assert found.alerts == ()
    assert parse("log: {access: false}\nhosts: {a.example.com: 80}", "f").log.access is None
