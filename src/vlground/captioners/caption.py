"""What a candidate depends on."""

import hashlib
import json


def candidate_key(seed: int, image_id: str, index: int) -> int:
    """The 64 bits from which everything random about a candidate is drawn.

    That is the one seed policy: a candidate depends on (seed, image, index), never on how many
    there are, on other images, or on their order (ours).

    >>> candidate_key(0, "cat", 1) == candidate_key(0, "cat", 1) != candidate_key(0, "cat", 2)
    True
    """
    text = json.dumps(["candidate", seed, image_id, index])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
