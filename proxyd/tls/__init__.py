"""TLS contexts and the table that says which certificate serves which name."""
