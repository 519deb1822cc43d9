"""A stateful fake of Stripe's HTTP API, and what is known of Stripe stated as tests of it."""
