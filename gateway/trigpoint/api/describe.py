"""The API's description (OpenAPI): what FastAPI cannot know by itself."""

from __future__ import annotations

from typing import Any

from trigpoint.api.problems import Problem, responses

DESCRIPTION = """
What a Trigpoint gateway has stored, for reading. Nothing here writes: boards write, over MQTT, and the operator makes
tokens on the command line.

**Tokens.** Send `Authorization: Bearer trig_...`. Without one you read what the operator has made public: by default
the log, whose hashes give away no reading.

**Numbers.** A reading is `mantissa` * 10 ** `exponent`, and `value` is the same as decimal text. No float is ever made
of it. Times are integers since 1970, UTC: `..._s` seconds, `..._ms` milliseconds.

**Pages.** While `next` is not null, ask again with `cursor` set to it and all else as before. While statements come
in, none is skipped and none comes twice.

**Errors** are problem details (RFC 9457, `application/problem+json`); `type` says which, in a word that stays.

**Proof.** `leaf_index` is the place of a statement in the log. /v1/statements/{leaf_index}/receipt is the proof of it,
for `trigpoint verify` and anybody else.
"""

TAGS = [
    {"name": "boards", "description": "What the registry says of boards, and what is stored of them."},
    {"name": "statements", "description": "What boards signed, byte for byte."},
    {"name": "receipts", "description": "Proofs for strangers."},
    {"name": "series", "description": "Readings over time, as stated or summed up."},
    {"name": "export", "description": "Many readings at once, as CSV or Parquet."},
    {"name": "live", "description": "Statements as they come."},
    {"name": "log", "description": "The transparency log, its tiles and its anchors."},
    {"name": "inspection", "description": "What was refused, and what contradicts."},
]

_ALWAYS = (400, 401, 403, 404, 422, 429, 500, 503)


def finish(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of every operation with which problems it may answer, and drop what FastAPI says of errors otherwise."""
    components = schema["components"]["schemas"]
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(problem.pop("$defs", {}))
    components["Problem"] = problem
    for path in schema["paths"].values():
        for operation in path.values():
            described = {str(status): text for status, text in responses(*_ALWAYS).items()}
            own = {status: text for status, text in operation["responses"].items() if status != "422"}
            operation["responses"] = {**own, **described, **{s: t for s, t in own.items() if s in ("200", "304")}}
    return schema
