"""A stateful fake of Stripe's HTTP API, and tests that state Stripe's documented behaviour."""
