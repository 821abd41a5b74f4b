"""A real ACME CA for the demo and the tests: Pebble and its DNS server as child processes."""
