"""Notices to both parties and to operators: writing, delivery and the delivery log."""
