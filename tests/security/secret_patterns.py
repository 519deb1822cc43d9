"""What our own secrets look like, for `detect-secrets`."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class OurSecrets(RegexBasedDetector):
    """Keys as in RECOURSE_ENCRYPTION_KEYS; what signs webhooks; the payment provider's keys."""

    secret_type = "Secret of ours"  # pragma: allowlist secret
    denylist = (
        re.compile(r"[\w.-]+:[A-Za-z0-9+/]{43}="),
        re.compile(r"whsec_[A-Za-z0-9+/=]{20,}"),
        re.compile(r"[rs]k_(?:test|live)_\w{16,}"),
    )
