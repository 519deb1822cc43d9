"""Proofs that purchases survive real faults: processes killed with SIGKILL, full disks, outages."""
