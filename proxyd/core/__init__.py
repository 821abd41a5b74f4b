"""Pure decisions and values: no asyncio, ssl, socket, clock or randomness; `now` and `rng` are parameters."""
