"""Tests of `proxyd.proxy`."""
