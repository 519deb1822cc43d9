"""The same purchase on other systems. Each is written as the system's own manual shows, with the
same steps and deadlines as ours; each step does nothing."""
