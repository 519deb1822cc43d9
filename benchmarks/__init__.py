"""How fast and how cheap, as ratios: `make bench`. Both sides of a comparison are measured in one
run, in turn, on the same server and machine; what they are compared with is in `floor` and `plain`.
"""
