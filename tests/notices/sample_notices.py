"""The sample notices of `make notices`, made once for all tests."""

from functools import cache

from docs.notice_samples import SAMPLE_PARTIES, SampleParties
from docs.notices import Sample, samples

PARTIES = ("client", "freelancer")


def parties_named(name: str) -> SampleParties:
    """The sample parties of that name."""
    return next(each for each in SAMPLE_PARTIES if each.name == name)


@cache
def samples_of(name: str) -> list[Sample]:
    """Every kind of notice for the sample parties of that name."""
    return samples(parties_named(name))
