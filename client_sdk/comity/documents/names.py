"""Normalization of names that people write: RFC 8266 over RFC 8264 (spec/act.md, ACT-17).

`types` has the weaker check for readers: an accepted text must be readable for ever, while Unicode grows.
"""

import unicodedata
from collections.abc import Mapping

from comity.errors import Malformed

_BLANK = "\u2800"
"""A braille cell without a dot, which the class of RFC 8264 accepts as a symbol."""
_FAULT_TEXTS = {
    "empty": "a name needs a visible character",
    "controls": "a name has no control characters",
    "precis_ignorable_properties": "a name has an invisible character",
    "zero_width_joiner": "a name has an invisible character",
    "zero_width_nonjoiner": "a name has an invisible character",
    "unassigned": "a name has a character that this version does not know",
}


def normalize_name(text: str) -> str:
    """The normalized name: NFKC, each run of spaces as one, none at the ends, case preserved (RFC 8266, section 2.3).
    Raises Malformed for a text outside FreeformClass of RFC 8264, and for U+2800."""
    # Imported here: most programs read names and never write one.
    from precis_i18n import get_profile

    try:
        name: str = get_profile("NicknameCasePreserved").enforce(text)
    except UnicodeEncodeError as fault:
        reason = fault.reason.rpartition("/")[2]
        raise Malformed(_FAULT_TEXTS.get(reason, "a name has a character that is not allowed")) from None
    if _BLANK in name:
        raise Malformed(_FAULT_TEXTS["precis_ignorable_properties"])
    return name


def comparison_form(name: str) -> str:
    """The form in which names are compared (RFC 8266, section 2.4); empty for a name without a visible character."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def check_names(names: Mapping[str, str | None]) -> None:
    """Raises Malformed unless each of these names (JSON pointer → name) equals its `normalize_name`."""
    for pointer, name in names.items():
        try:
            fault = None if name is None or normalize_name(name) == name else "is not spelled as in RFC 8266"
        except Malformed as why:
            fault = why.detail
        if fault is not None:
            raise Malformed("a name is not valid", errors=((pointer, fault),))
