"""docs/contract/*.schema.json: the public contract for those who compile it.

What a purchase reads is described as it is validated, what it answers as it is serialised; the
same as `python -m starter schema` prints.
"""

import json

from starter.schema import schemas_by_name


def files() -> dict[str, str]:
    """Each schema as a file, by its name."""
    return {
        f"{name}.schema.json": json.dumps(schema, indent=2) + "\n"
        for name, schema in schemas_by_name().items()
    }
