"""Click's complaints about a value in the words of natctl and natd: `expected a number, got
'soon'`.  Pure; other phrases stay as they are."""

import re

_NOT_A_NUMBER = re.compile(r"(?<=: )('.*') is not a valid (float|integer)(?: range)?")

_OUT_OF_RANGE = re.compile(r"(\S+) is not in the range (?:(\S+?)(<=?))?x(?:([<>]=?)(\S+))?$")


def plain(text: str) -> str:
    """One line, begun with a small letter and without a full stop."""
    text = " ".join(text.split()).rstrip(".")
    text = text[:1].lower() + text[1:]
    text = _NOT_A_NUMBER.sub(_number_words, text)
    return _OUT_OF_RANGE.sub(_range_words, text)


def _number_words(found: re.Match[str]) -> str:
    kind = "whole number" if found[2] == "integer" else "number"
    return f"expected a {kind}, got {found[1]}"


def _range_words(found: re.Match[str]) -> str:
    value, low, low_sign, sign, bound = found.groups()
    if low is not None and bound is not None:
        wanted = f"more than {low}, up to {bound}" if low_sign == "<" else f"{low} to {bound}"
    else:
        known = {">=": f"{bound} or more", ">": f"more than {bound}", "<=": f"at most {bound}"}
        wanted = known.get(sign or "", f"x{sign}{bound}")
    return f"expected {wanted}, got {value}"
