"""Writes a configuration as the text of its file: every key, what it means, and the value in force."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic.fields import FieldInfo

from trigpoint.config import Config, Section

HIDDEN = "HIDDEN"
_WIDTH = 118

Plain = str | int | float | bool | list[str] | list[int]


def render(config: Config, *, secrets: bool = False) -> str:
    """Return the commented TOML of `config`. Parsed again, it gives the same configuration.

    Args:
        config: paths are written as they are, relative or absolute.
        secrets: whether to write values that may hold an access token in full, as their own file must. What is printed
            for people has them cut to what tells them apart, and does not parse to the same.
    """
    lines = [*_comment(inspect.getdoc(Config) or ""), ""]
    sections: list[tuple[str, Section]] = []
    for name, field in Config.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Section):
            sections.append((name, value))
        elif value is not None:
            lines += _key(name, field, value, secrets=secrets)
    for name, section in sections:
        lines += ["", *_comment(inspect.getdoc(section) or ""), f"[{name}]"]
        for key, field in type(section).model_fields.items():
            lines += _key(key, field, getattr(section, key), secrets=secrets)
    return "\n".join(lines) + "\n"


def plain(config: Config) -> dict[str, Plain | dict[str, Plain]]:
    """Return `config` as values that JSON has, one object a section; what may hold an access token is cut."""
    result: dict[str, Plain | dict[str, Plain]] = {}
    for name, field in Config.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Section):
            fields = type(value).model_fields.items()
            result[name] = {key: _shown(inner, getattr(value, key), secrets=False) for key, inner in fields}
        elif value is not None:
            result[name] = _shown(field, value, secrets=False)
    return result


def _key(name: str, field: FieldInfo, value: object, *, secrets: bool) -> Iterator[str]:
    yield from _comment(field.description or "")
    if not field.is_required() and value != field.default:
        yield f"# Default: {_toml(_shown(field, field.default, secrets=secrets))}"
    yield f"{name} = {_toml(_shown(field, value, secrets=secrets))}"


def _comment(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        for line in textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False):
            yield f"# {line}"


def _shown(field: FieldInfo, value: object, *, secrets: bool) -> Plain:
    extra = field.json_schema_extra
    if value is None:
        return ""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and isinstance(extra, dict) and extra.get("secret") and not secrets:
        return _cut(value)
    if isinstance(value, tuple):
        return [_shown(field, item, secrets=secrets) for item in value]  # type: ignore[return-value]
    assert isinstance(value, str | int | float | bool | list)
    return value


def _cut(url: str) -> str:
    """Return `url` with nothing in it that could be a token: no user, no path, no query."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return url if place == url.rstrip("/") else f"{place}/{HIDDEN}"


def _toml(value: Plain) -> str:
    if isinstance(value, float):
        return repr(value)
    # A JSON string is a TOML basic string, but for DEL, which only TOML wants escaped; numbers, booleans and lists of
    # them are written the same way in both.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
