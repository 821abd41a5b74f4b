from proxyd.frontend.head_reader import HeadLimits, HeadReader

LINES = b"Host: a.test\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_http_1_0_cannot_upgrade_also_on_a_connection_that_has_seen_the_same_lines() -> None:
    reader = HeadReader(HeadLimits())
    upgrades = []
    for version in (b"1.1", b"1.0", b"1.1"):
        found = reader.read(b"GET / HTTP/" + version + b"\r\n" + LINES)
        assert found is not None
        upgrades.append(found[0].block.upgrade)
    assert upgrades == [b"websocket", b"", b"websocket"]
