"""Encryption keys, random in each test process, and a payload to encrypt."""

import base64
import os

from temporalio.api.common.v1 import Payload

OLD = f"2026-05:{base64.b64encode(os.urandom(32)).decode()}"
NEW = f"2026-11:{base64.b64encode(os.urandom(32)).decode()}"
HELLO = Payload(metadata={"encoding": b"json/plain"}, data=b'"ana@example.com"')
