from proxyd.core.field_names import DROP, MALFORMED, PASS, FieldTable, is_end_to_end


def table() -> FieldTable:
    return FieldTable({b"x-ours": DROP}, aliases={b"x-ours"})


def test_actions() -> None:
    actions = table()
    for name in (b"x-ours", b"X-Ours", b"X_OURS", b"x.ours"):
        assert actions[name] == DROP
    for name in (b"X-Other", b"x_other", b"XOurs", b"!#$%&'*+-.^_`|~"):
        assert actions[name] == PASS
    for name in (
        b"",
        b"a b",
        b"a ",
        b" a",
        b"a\t",
        b"a(",
        b"\xe9",
        b"a\x00",
        b"Content_Length",
        b"transfer.encoding",
        b"a\n",
    ):
        assert actions[name] == MALFORMED


def test_what_is_learnt_is_bounded_and_makes_no_difference() -> None:
    actions = table()
    for number in range(10_000):
        assert actions[b"x-%d" % number] == PASS
        assert actions[b"x %d" % number] == MALFORMED
    assert len(actions) <= 2048
    actions[b"x" * 100]
    assert b"x" * 100 not in actions
    assert actions[b"X-Ours"] == DROP


def test_end_to_end_fields() -> None:
    for name in (b"cookie", b"content-type", b"authorization", b"host", b"sec-websocket-key", b"if-match"):
        assert is_end_to_end(name)
    for name in (b"x-one", b"keep-alive", b"te"):
        assert not is_end_to_end(name)
