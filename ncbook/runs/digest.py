"""Values as JSON keeps them, and their digest."""

import hashlib
import json

from ncbook.errors import InputError


def digest(value) -> str:
    """20 hex digits of a JSON-able value, or of a text."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def canonical(parameters: dict) -> dict:
    """Parameters as JSON keeps them, so that 1 from YAML and 1 from NumPy give one key; anything else is an `InputError`."""
    try:
        return json.loads(json.dumps(parameters, allow_nan=False, default=lambda x: x.item()))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # RuntimeError: a tensor of several values
        raise InputError(f"parameters must be numbers, texts, true/false, null or lists of them: {parameters} ({error}).") from error
