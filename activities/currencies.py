"""The currencies of purchases, with the decimals of each: ISO 4217 as it was when each was added.

Running purchases are replayed and paid out with this table, so a code is never removed, and its
decimals never change. A currency that leaves ISO 4217 is added to `WITHDRAWN`: purchases that have
it keep it, new ones are rejected. A test compares the table with the newest ISO 4217.
"""

from collections.abc import Mapping

_CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN "
        "BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP "
        "GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT "
        "LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN "
        "NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE "
        "SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES "
        "WST XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

DECIMALS: Mapping[str, int] = {
    code: decimals for decimals, codes in _CODES.items() for code in codes.split()
}
"""Digits after the decimal point, by code."""

_STEPS = {10: "BHD IQD JOD KWD LYD OMR TND", 100: "CLF MGA UYW"}

STEPS: Mapping[str, int] = {code: step for step, codes in _STEPS.items() for code in codes.split()}
"""The smallest amount that payment providers move, in minor units, where it is not 1: Stripe sends
two decimals of three or four, and none of MGA. Purchases record it; a test compares it with what
the adapter can send."""

WITHDRAWN = frozenset({"BGN"})
"""No longer in ISO 4217: rejected for new purchases before money moves."""
