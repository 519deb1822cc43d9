"""Measures speed and cost as ratios: `make bench`.

Both sides of a comparison are measured in one run, in turn, on the same server and machine. The
modules `bare` and `plain` have the workflows that Recourse is compared with.
"""
