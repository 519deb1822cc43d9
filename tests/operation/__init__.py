"""What operators rely on: metrics, traces, health, deployment versions, shutdown."""
