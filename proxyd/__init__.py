"""HTTPS for every host you list: certificates by ACME, the right one by SNI, requests proxied to upstreams."""
