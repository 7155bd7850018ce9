"""The API's description (OpenAPI): what FastAPI cannot know by itself."""

from __future__ import annotations

from typing import Any

from trigpoint.api.problems import Problem, responses
from trigpoint.api.tokens import Scope

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
    {"name": "join", "description": "What a board must be told to send to this gateway."},
]

_SCOPES = {"log": Scope.LOG, "inspection": Scope.INSPECT, "join": Scope.JOIN}
_STREAMS = ("live", "export")
_ALWAYS = (400, 401, 403, 404, 422, 429, 500, 503)


def finish(schema: dict[str, Any], public: frozenset[Scope]) -> dict[str, Any]:
    """Say of every operation with which problems it may answer, and whether it needs a token here.

    Args:
        schema: as FastAPI makes it; what that says of errors is dropped.
        public: what may be read without a token.
    """
    components = schema["components"]["schemas"]
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(problem.pop("$defs", {}))
    components["Problem"] = problem
    for path in schema["paths"].values():
        for operation in path.values():
            tag = operation["tags"][0]
            if _SCOPES.get(tag, Scope.READINGS) in public:
                operation["security"].append({})
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _without_null(parameter["schema"])
            described = {str(status): text for status, text in responses(*_ALWAYS).items()}
            own = {status: text for status, text in operation["responses"].items() if status != "422"}
            same = {} if tag in _STREAMS else {"304": {"description": "What you have is still the same."}}
            operation["responses"] = {**same, **described, **own}
    return schema


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without the null that stands for leaving it out: a URL cannot say null."""
    match schema.get("anyOf"):
        case [one, {"type": "null"}]:
            return {**{key: value for key, value in schema.items() if key != "anyOf"}, **one}
        case _:
            return schema
