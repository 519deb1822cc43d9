"""docs/contract/*.schema.json: the public contract as JSON Schemas, for code generators.

Inputs have their validation schema, outputs their serialisation schema, as in
`recourse schema`.
"""

import json

from starter.schema import schemas_by_name


def files() -> dict[str, str]:
    """The text of each schema by its file name."""
    return {
        f"{name}.schema.json": json.dumps(schema, indent=2) + "\n"
        for name, schema in schemas_by_name().items()
    }
