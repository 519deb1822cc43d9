"""What whoever runs this relies on: metrics, traces, health, versions, ends."""
