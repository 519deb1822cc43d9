"""A `detect-secrets` plugin with the patterns of this project's secrets."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class RecourseSecrets(RegexBasedDetector):
    """Finds encryption keys (RECOURSE_ENCRYPTION_KEYS), webhook signing secrets and keys of the
    payment provider."""

    secret_type = "Secret of ours"  # pragma: allowlist secret
    denylist = (
        re.compile(r"[\w.-]+:[A-Za-z0-9+/]{43}="),
        re.compile(r"whsec_[A-Za-z0-9+/=]{20,}"),
        re.compile(r"[rs]k_(?:test|live)_\w{16,}"),
    )
