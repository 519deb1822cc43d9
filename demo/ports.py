"""Free ports for servers that run for a while: of the demo, the tests and the benchmarks."""

from temporal.ports import free_port

__all__ = ["free_port"]
