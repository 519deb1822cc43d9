"""The same purchase on what people would otherwise use. Each is written as its own manual writes
such a workflow, with the same steps and deadlines as ours, and each step does nothing."""
