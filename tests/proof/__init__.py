"""Every crash, on the real parts: what is killed here is a process, with SIGKILL."""
