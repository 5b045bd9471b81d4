"""Tests of gateway.domain."""
